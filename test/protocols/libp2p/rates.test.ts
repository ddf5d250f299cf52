/** What caps allow, on real sockets and streams: bytes that arrive in any window after the first moments. */
import test, { type ExecutionContext } from 'ava'
import type { Network } from '../../../protocols/libp2p/node.ts'
import { bucket } from '../../../protocols/rate/bucket.ts'
import type { Cap } from '../../../protocols/rate/caps.ts'
import type { Channel } from '../../../protocols/transport.ts'
import { realUntil as until } from '../../contracts/until.ts'
import { openMesh } from './mesh.ts'

const PROTOCOL = '/godwit/test/1'
const BYTES_PER_S = 3e6
/** The 5 s where there is time for it. */
const isLong = process.env['GODWIT_LONG'] === '1'
const WINDOW_MS = isLong ? 5_000 : 1_200
const RUN_MS = isLong ? 14_000 : 2_000
const PIECE_BYTES = 64 * 1024

type Hold = (near: Network, far: Network) => void
const capOf = (to: Network, rates: Pick<Cap, 'upBytesPerS' | 'downBytesPerS'>): Cap => ({
  name: 'cap',
  peers: new Set([to.transport.self]),
  ...rates,
})

const holds: [what: string, hold: Hold, limit: boolean][] = [
  [
    'what is sent',
    (near, far) => near.transport.shape([capOf(far, { upBytesPerS: BYTES_PER_S, downBytesPerS: undefined })]),
    false,
  ],
  [
    'what is taken in',
    (near, far) => far.transport.shape([capOf(near, { upBytesPerS: undefined, downBytesPerS: BYTES_PER_S })]),
    false,
  ],
  ['what one job takes in, over two channels', () => {}, true],
]

for (const by of ['sockets', 'streams'] as const)
  for (const [what, hold, isJob] of by === 'sockets' ? holds : holds.slice(0, 1))
    test.serial(`${by}: ${what} is held to its cap`, async (t) => {
      const { networks, close } = await openMesh(2, by === 'streams' ? { bulkListen: [] } : {})
      t.teardown(close)
      const [near, far] = networks as [Network, Network]
      hold(near, far)
      const job = bucket(BYTES_PER_S / 1_000, 50)
      const arrived: { atMs: number; bytes: number }[] = []
      far.transport.serve(PROTOCOL, {
        channel: (_, channel) => {
          if (isJob) channel.limit(job)
          channel.onFrame(({ length }) => arrived.push({ atMs: performance.now(), bytes: length }))
        },
      })
      for (let n = 0; n < (isJob ? 2 : 1); n++) fill(await open(near, far))
      // Bulk begins slowly, and slower on a host that is busy.
      const lately = (): number =>
        arrived.reduce((sum, { atMs, bytes }) => sum + (atMs > performance.now() - 500 ? bytes : 0), 0)
      await until(() => lately() > 0.4 * BYTES_PER_S, 30_000)
      const fromMs = performance.now()
      await until(() => performance.now() > fromMs + RUN_MS, 30_000)
      check(t, arrived, fromMs)
    })

/** As much as it takes. */
function fill(channel: Channel): void {
  const more = (): void => {
    for (let n = 0; n < 64 && channel.send(new Uint8Array(8), new Uint8Array(PIECE_BYTES)); n++);
  }
  channel.onFrame(() => {})
  channel.onDrain(more)
  more()
}

const open = (from: Network, to: Network): Promise<Channel> =>
  new Promise((resolve, reject) =>
    from.transport.open(to.transport.self, PROTOCOL, (outcome) =>
      outcome.ok ? resolve(outcome.value) : reject(new Error(outcome.failure.code)),
    ),
  )

/** In every window, within 10 %, and the pieces at its edges. How much less it is says more of the host where time is short. */
function check(
  t: ExecutionContext,
  arrived: readonly { atMs: number; bytes: number }[],
  fromMs: number,
): void {
  let windows = 0
  const most = (BYTES_PER_S * WINDOW_MS) / 1_000
  const edge = (isLong ? 1 : 4) * PIECE_BYTES
  for (let start = fromMs; start + WINDOW_MS <= fromMs + RUN_MS; start += 100) {
    const within = arrived.filter(({ atMs }) => atMs >= start && atMs < start + WINDOW_MS)
    const bytes = within.reduce((sum, each) => sum + each.bytes, 0)
    const said = `${(bytes / most).toFixed(2)} of the cap from ${Math.round(start - fromMs)} ms`
    t.true(bytes <= (isLong ? 1.1 : 1.25) * most + edge, said)
    if (isLong) t.true(bytes >= 0.9 * most, said)
    windows++
  }
  t.true(windows >= 8)
}
