import { setImmediate as turn } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import test from 'ava'
import type { Connections } from '../../../protocols/libp2p/connections.ts'
import { RoundTrips } from '../../../protocols/libp2p/round-trips.ts'

// Found by the swarm benchmark on a busy machine: a peer ended with 'no answer', which nobody had waited for.
test('a stream that is gone before the ping was sent is a lost ping, and nothing else', async (t) => {
  const unhandled: unknown[] = []
  const note = (reason: unknown): void => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  const stream = Object.assign(new EventTarget(), {
    send(): boolean {
      throw new Error('the stream is closed')
    },
    async close(): Promise<void> {
      stream.dispatchEvent(new Event('close'))
    },
    abort: (): void => {},
  })
  let asked = 0
  const connection = {
    status: 'open',
    async newStream(): Promise<unknown> {
      asked++
      return stream
    },
  } as unknown as Connection
  const roundTrips = new RoundTrips({ control: () => connection } as unknown as Connections)
  roundTrips.start('one')
  for (let turns = 0; turns < 10; turns++) await turn()
  roundTrips.close()
  t.is(asked, 1)
  t.is(roundTrips.rttMs('one'), undefined)
  t.deepEqual(unhandled, [])
})
