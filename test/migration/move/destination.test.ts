import test from 'ava'
import {
  type Destination,
  type DestinationEffect,
  type DestinationEvent,
  startDestination,
  stepDestination,
} from '../../../migration/move/destination.ts'
import type { Message } from '../../../protocols/move/messages.ts'

const m = '01J00000000000000000000000'
const vm = `aaaaaaaa-${m}`
const images = [{ image: 'a'.repeat(64), bytes: 1024 }]
const nothing = { doneBytes: 0, totalBytes: 0, dedupBytes: 0, compressedBytes: 0, wireBytes: 0, sources: 0 }
const cost = { doneBytes: 10, totalBytes: 20, dedupBytes: 20, compressedBytes: 9, wireBytes: 11, sources: 1 }
const seed: Message & { kind: 'seed' } = { kind: 'seed', m, vm, images }
const offer: Message & { kind: 'offer' } = {
  kind: 'offer',
  m,
  vm,
  name: 'web',
  scope: 'mesh',
  from: 'aaaaaaaa',
  epoch: [0, 1, 0, 1],
  spec: '{}',
  wanted: 'running',
  images,
}
const pull: DestinationEffect = { kind: 'pull', images }
const failure = { code: 'NO_SOURCE' as const, image: 'x', missing: 3 }
const at = (phase: Destination['phase'], rest: Partial<Destination> = {}): Destination => ({
  ...startDestination(seed),
  phase,
  ...rest,
})
const say = (message: Message): DestinationEvent => ({ kind: 'message', message })

const rules: [
  rule: string,
  from: Destination,
  event: DestinationEvent,
  to: Destination['phase'],
  effects: DestinationEffect[],
][] = [
  ['pulls what it is to seed', at('seeding'), say(seed), 'seeding', [pull]],
  ['does not pull twice', at('seeding', { current: { ...nothing } }), say(seed), 'seeding', []],
  [
    'says that it is seeded',
    at('seeding'),
    { kind: 'pulled', cost },
    'seeded',
    [{ kind: 'send', message: { kind: 'seeded', m, cost } }],
  ],
  [
    'says it again when asked again',
    at('seeded', { spent: cost }),
    say(seed),
    'seeded',
    [{ kind: 'send', message: { kind: 'seeded', m, cost } }],
  ],
  ['pulls what is offered', at('seeded'), say(offer), 'fetching', [pull]],
  ['pulls an offer it was never asked to seed for', at('seeding'), say(offer), 'fetching', [pull]],
  [
    'asks for the take once its disks are prepared',
    at('preparing', { offer, spent: cost }),
    { kind: 'prepared' },
    'taking',
    [
      { kind: 'send', message: { kind: 'progress', m, phase: 'taking', cost } },
      { kind: 'take', offer },
    ],
  ],
  ['asks again on a tick', at('taking', { offer }), { kind: 'tick' }, 'taking', [{ kind: 'take', offer }]],
  [
    'reaches taken by the log alone',
    at('taking', { offer }),
    { kind: 'outcome', outcome: 'taken' },
    'taken',
    [],
  ],
  [
    'drops what a cancelled move made',
    at('taking', { offer }),
    { kind: 'outcome', outcome: 'cancelled' },
    'dropped',
    [{ kind: 'drop' }],
  ],
  ['leaves a failed take to the log', at('taking', { offer }), { kind: 'failed', failure }, 'taking', []],
  [
    'never drops what it has taken',
    at('taken', { offer }),
    { kind: 'outcome', outcome: 'cancelled' },
    'taken',
    [],
  ],
  ['does not say that it runs before it does', at('taken', { offer }), say(offer), 'taken', []],
  [
    'says that it runs',
    at('taken', { offer, spent: cost }),
    { kind: 'running' },
    'taken',
    [{ kind: 'send', message: { kind: 'running', m, cost } }],
  ],
  [
    'says it again to a source that asks',
    at('taken', { offer, up: true, spent: cost }),
    say(offer),
    'taken',
    [{ kind: 'send', message: { kind: 'running', m, cost } }],
  ],
]

for (const [rule, from, event, to, effects] of rules) {
  test(`destination ${rule}`, (t) => {
    t.deepEqual(stepDestination(from, event), effects)
    t.is(from.phase, to)
  })
}

test('a pull that cannot be done is refused with its reason', (t) => {
  const destination = at('fetching', { offer })
  const [drop, refused] = stepDestination(destination, { kind: 'failed', failure })
  t.deepEqual(drop, { kind: 'drop' })
  t.like(refused, { kind: 'send', message: { kind: 'refused', m } })
  t.is(destination.phase, 'dropped')
})

test('a refusal that was lost is said again to whoever asks again', (t) => {
  const destination = at('fetching', { offer })
  stepDestination(destination, { kind: 'failed', failure })
  for (const message of [seed, offer]) {
    t.like(stepDestination(destination, say(message))[0], { kind: 'send', message: { kind: 'refused', m } })
  }
})

test('figures of both pulls add up', (t) => {
  const destination = at('seeding')
  stepDestination(destination, { kind: 'pulled', cost })
  stepDestination(destination, say(offer))
  stepDestination(destination, { kind: 'pulled', cost })
  t.is(destination.spent.wireBytes, 22)
})
