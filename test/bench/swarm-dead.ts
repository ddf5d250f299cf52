/**
 * What it costs that a source dies without a word: SIGSTOP of one of two, against SIGKILL, of which its kernel tells at
 * once. From there on the other has to bring all that is left, either way.
 */
import { join } from 'node:path'
import { type Bench, row } from './bench.ts'
import { claimant, GOODPUT, inFolder, openLinks } from './swarm/setting.ts'
import { download, type Member, writeRandom } from './swarm/stage.ts'

const DEAD_MIB = 24
const DEAD_MBIT = 20
const DEAD_AFTER_MS = 3_000
/** Of each kind, by turns: the median says what a fault costs. */
const DEAD_RUNS = 3

export const swarmDead: Bench = async ({ quick, say }) =>
  inFolder(async (folder) => {
    const file = join(folder, 'image.raw')
    await writeRandom(file, DEAD_MIB)
    const member = (site: string, downloads: boolean): Member => ({
      site,
      name: 'one',
      downloads,
      ...(!downloads && { file }),
    })
    const members = [member('left', false), member('right', false), member('home', true)]
    const lab = await openLinks(members, 40, DEAD_MBIT)
    if ('impossible' in lab) return { rows: [], note: lab.note, impossible: true as const }
    const took = { SIGKILL: [] as number[], SIGSTOP: [] as number[] }
    let cpuShare = 0
    try {
      for (let n = 0; n < 2 * (quick ? 1 : DEAD_RUNS); n++) {
        const signal = n % 2 === 0 ? 'SIGKILL' : 'SIGSTOP'
        const fault = { at: 1, signal, afterMs: DEAD_AFTER_MS } as const
        const measured = await download(lab, members, folder, 60_000, fault)
        took[signal].push(measured.ms[0] as number)
        cpuShare = Math.max(cpuShare, measured.cpuShare)
        say(`${signal}: ${((measured.ms[0] as number) / 1_000).toFixed(2)} s`)
      }
    } finally {
      await lab.close()
    }
    const costMs = median(took.SIGSTOP) - median(took.SIGKILL)
    // A chunk at the end of the line may only be asked for at the end.
    const chunkMs = 256 / (DEAD_MBIT * 0.125 * GOODPUT)
    const about = { case: 'one of two sources', unit: 's', better: 'lower' } as const
    const rows = [
      row({ ...about, metric: 'killed_s', value: median(took.SIGKILL) / 1_000 }),
      row({ ...about, metric: 'stopped_s', value: median(took.SIGSTOP) / 1_000 }),
      row({
        ...about,
        metric: 'silence_costs_s',
        ...claimant(cpuShare)(costMs / 1_000),
        must: (300 + chunkMs) / 1_000,
      }),
      row({ ...about, metric: 'cpu_share', value: cpuShare, unit: 'ratio' }),
    ]
    const note = `netns+${lab.link}, ${DEAD_MBIT} Mbit/s, 40 ms; ${DEAD_MIB} MiB of random data; medians of ${quick ? 1 : DEAD_RUNS}`
    return { rows, note }
  })

const median = (numbers: readonly number[]): number =>
  numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] as number
