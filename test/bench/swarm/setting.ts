/** What the benchmarks of swarms share: links between sites, a folder that goes, and when a figure is no claim. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Lab, openLab } from '../../lab/lab.ts'
import type { Member } from './stage.ts'

/** Of a rate: what Ethernet, IP and TCP leave. */
export const GOODPUT = 0.945
/** With so little CPU left, that is what was measured, and not the swarm. */
const CPU_SHARE_MAX = 0.85

export const claimant =
  (cpuShare: number) =>
  (value: number): { value: number | null; why?: string } =>
    cpuShare <= CPU_SHARE_MAX
      ? { value }
      : {
          value: null,
          why: `${value.toPrecision(4)}, but ${Math.round(cpuShare * 100)} % of the CPU was taken`,
        }

export async function openLinks(
  members: readonly Member[],
  rttMs: number,
  rateMbit: number,
): Promise<Lab | { impossible: true; note: string }> {
  const names = [...new Set(members.map(({ site }) => site))]
  const sites = names.map((name) => ({
    name,
    peers: members.filter(({ site }) => site === name).map((each) => each.name),
  }))
  const lab = await openLab({ sites, rttMs, rateMbit }).catch((error: unknown) => error as Error)
  if (lab instanceof Error) return { impossible: true, note: lab.message }
  if (lab.link !== 'loopback') return lab
  await lab.close()
  return { impossible: true, note: `no link between sites here: ${lab.why}` }
}

export async function inFolder<T>(run: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'godwit-bench-'))
  try {
    return await run(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
