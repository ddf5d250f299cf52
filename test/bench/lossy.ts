/**
 * One image from one peer to another over a long line that loses packets, with BBR and with CUBIC set explicitly for both
 * peers (by route, which holds for every socket of theirs): what of the line's rate was the image, dials, slow start, the
 * manifest and all headers counted as lost.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openLab } from '../lab/lab.ts'
import { type Bench, type Row, row } from './bench.ts'
import { download, type Member, writeRandom } from './swarm/stage.ts'

const MIB = 1024 ** 2
const RATE_MBIT = 50
const RTT_MS = 100
/** Of the rate: below it the run is given up. */
const SHARE_MIN = 0.04

const CASES = ['bbr', 'cubic'].flatMap((congestion) =>
  [0, 0.1, 1].map((lossPercent) => ({ congestion, lossPercent })),
)

export const lossy: Bench = async ({ quick, say }) => {
  const mib = quick ? 24 : 128
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  const rows: Row[] = []
  let note = ''
  try {
    const file = join(folder, 'image.raw')
    await writeRandom(file, mib)
    const members: Member[] = [
      { site: 'origin', name: 'source', file, downloads: false },
      { site: 'branch', name: 'sink', downloads: true },
    ]
    for (const { congestion, lossPercent } of CASES) {
      if (quick && lossPercent !== 1) continue
      const sites = members.map(({ site, name }) => ({ name: site, peers: [name] }))
      const opened = await openLab({
        sites,
        rttMs: RTT_MS,
        rateMbit: RATE_MBIT,
        lossPercent,
        congestion,
      }).catch((error: unknown) => error as Error)
      if (opened instanceof Error) return { rows, note: opened.message, impossible: true }
      try {
        if (opened.link === 'loopback')
          return { rows, note: `no link between sites here: ${opened.why}`, impossible: true }
        note = `netns+${opened.link}; ${RATE_MBIT} Mbit/s, ${RTT_MS} ms; ${mib} MiB of random data from disk to disk`
        const patienceMs = (mib * MIB) / (RATE_MBIT * 125 * SHARE_MIN)
        const { ms, copyBytes, cpuSeconds } = await download(opened, members, folder, patienceMs)
        const share = ((copyBytes / (ms[0] as number)) * (8 / 1_000)) / RATE_MBIT
        const about = { case: `${congestion} ${lossPercent}%` }
        rows.push(
          row({
            ...about,
            metric: 'share_of_link',
            value: share,
            unit: 'ratio',
            better: 'higher',
            ...(lossPercent === 1 && { must: 0.6, aim: 0.8 }),
          }),
          row({ ...about, metric: 'cpu_s_per_mib', value: cpuSeconds / mib, unit: 's/MiB', better: 'lower' }),
        )
        say(`${congestion}, ${lossPercent} % loss: ${(share * 100).toFixed(0)} % of the link`)
      } finally {
        await opened.close()
      }
    }
    return { rows, note }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
