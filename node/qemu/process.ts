/** Processes of this host as /proc shows them. A pid alone names nobody: it is used again. */
import { readdir, readFile } from 'node:fs/promises'
import { basename } from 'node:path'

export type ProcessId = {
  readonly pid: number
  /** In clock ticks since boot. */
  readonly startTime: number
}

/** Linux's USER_HZ, on every platform that Node runs on. */
const TICKS_PER_SECOND = 100

/** Fields of /proc/PID/stat from the third (state) on: the second is a name that may hold anything. */
export const statFields = (stat: string): string[] =>
  stat
    .slice(stat.lastIndexOf(')') + 2)
    .trimEnd()
    .split(' ')

/** Whether that very process runs. One that has ended but not been waited for does not. */
export async function isAlive({ pid, startTime }: ProcessId): Promise<boolean> {
  const stat = await read(`/proc/${pid}/stat`)
  if (stat === undefined) return false
  const fields = statFields(stat)
  return Number(fields[19]) === startTime && fields[0] !== 'Z' && fields[0] !== 'X'
}

/** A process of `program` whose command line has `words` one after the other, whoever started it. */
export async function processOf(program: string, words: readonly string[]): Promise<number | undefined> {
  const wanted = `\0${words.join('\0')}\0`
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue
    const line = await read(`/proc/${name}/cmdline`)
    // Its keeper has the same words on its own.
    const isProgram = basename(line?.split('\0', 1)[0] ?? '') === program
    if (isProgram && line?.includes(wanted) === true) return Number(name)
  }
  return undefined
}

export type ProcessUsage = {
  readonly cpuSeconds: number
  readonly memoryBytes: number
  readonly diskReadBytes: number
  readonly diskWrittenBytes: number
}

/** What a process has used; undefined when it is gone. Disk bytes are 0 where /proc does not show them. */
export async function usageOf(id: ProcessId): Promise<ProcessUsage | undefined> {
  if (!(await isAlive(id))) return undefined
  const [stat, status, io] = await Promise.all(
    ['stat', 'status', 'io'].map((name) => read(`/proc/${id.pid}/${name}`)),
  )
  if (stat === undefined || status === undefined) return undefined
  const fields = statFields(stat)
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    memoryBytes: numberAfter(status, 'VmRSS') * 1024,
    diskReadBytes: numberAfter(io ?? '', 'read_bytes'),
    diskWrittenBytes: numberAfter(io ?? '', 'write_bytes'),
  }
}

const numberAfter = (text: string, key: string): number =>
  Number(new RegExp(`^${key}:\\s*(\\d+)`, 'm').exec(text)?.[1] ?? 0)

/** Undefined when the process is gone, or is not ours to look at. */
async function read(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'latin1')
  } catch {
    return undefined
  }
}
