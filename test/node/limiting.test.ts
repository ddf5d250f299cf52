import test from 'ava'
import { Limiting } from '../../node/limiting.ts'
import type { Cap } from '../../protocols/rate/caps.ts'

test('caps follow the clock and the peers, and are told when they change', (t) => {
  let minute = 479
  const told: (readonly Cap[])[] = []
  const limiting = new Limiting(
    {
      rules: [
        { to: 'other-sites', up: 2e6, down: 2e6, from: 480, until: 1_080 },
        { to: 'hill/heron', up: 1e6 },
      ],
      wallTime: () => ({ day: 1, minute }),
    },
    (caps) => told.push(caps),
  )
  const peers = new Map([
    ['a', { site: 'quay', name: 'crane' }],
    ['b', { site: 'hill', name: 'heron' }],
  ])
  const look = (): void => limiting.look(0, 'quay', peers)
  look()
  look()
  t.is(told.length, 1)
  t.deepEqual(
    told[0]?.map(({ peers: named, upBytesPerS }) => [[...named], upBytesPerS]),
    [[['b'], 1e6]],
  )
  minute = 480
  look()
  t.deepEqual(
    told[1]?.map(({ peers: named, downBytesPerS }) => [[...named], downBytesPerS]),
    [
      [['b'], 2e6],
      [['b'], undefined],
    ],
  )
  peers.set('c', { site: 'mole', name: 'gull' })
  look()
  t.deepEqual([...(told[2]?.[0]?.peers ?? [])], ['b', 'c'])
  minute = 1_080
  look()
  t.is(told[3]?.length, 1)
})
