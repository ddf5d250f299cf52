/**
 * What Linux says of itself in /proc, as text, to numbers. Pure and total: a line that is not there, or not as expected,
 * gives zero or nothing, because kernels and containers differ and telemetry must never stop a peer.
 */

export type CpuTimes = {
  readonly cpus: number
  readonly busy: number
  readonly all: number
  readonly bootMs: number
}

/** /proc/stat: ticks since boot over all CPUs; waiting for disks counts as idle. */
export function parseStat(text: string): CpuTimes {
  // Guest time, the last two columns, is part of user time already.
  const times = numbers(/^cpu +(.*)$/m.exec(text)?.[1] ?? '').slice(0, 8)
  const all = times.reduce((sum, each) => sum + each, 0)
  const [, , , idle = 0, waiting = 0] = times
  const cpus = text.match(/^cpu\d+ /gm)?.length ?? 0
  const bootSeconds = Number(/^btime (\d+)$/m.exec(text)?.[1] ?? 0)
  return { cpus, busy: all - idle - waiting, all, bootMs: bootSeconds * 1000 }
}

/** Share of busy time between two readings, 0..1; since boot when there is no earlier one. */
export function loadBetween(before: CpuTimes | undefined, now: CpuTimes): number {
  const all = now.all - (before?.all ?? 0)
  const busy = now.busy - (before?.busy ?? 0)
  return all > 0 ? Math.min(1, Math.max(0, busy / all)) : 0
}

/** /proc/meminfo: used is what could not be had without swapping. */
export function parseMemory(text: string): { totalBytes: number; usedBytes: number } {
  const bytes = (name: string): number | undefined => {
    const found = new RegExp(`^${name}: +(\\d+) kB$`, 'm').exec(text)?.[1]
    return found === undefined ? undefined : Number(found) * 1024
  }
  const total = bytes('MemTotal') ?? 0
  const available = bytes('MemAvailable') ?? bytes('MemFree') ?? total
  return { totalBytes: total, usedBytes: Math.max(0, total - available) }
}

/** /proc/loadavg: over 1, 5 and 15 minutes. */
export function parseLoad(text: string): number[] {
  const load = numbers(text).slice(0, 3)
  return load.length === 3 ? load : []
}

/** /proc/pressure/*: shares of the last 10 s. */
export function parsePressure(text: string): { some: number; full?: number } | undefined {
  const average = (which: string): number | undefined => {
    const found = new RegExp(`^${which} avg10=([\\d.]+)`, 'm').exec(text)?.[1]
    return found === undefined ? undefined : Math.min(1, Number(found) / 100)
  }
  const [some, full] = [average('some'), average('full')]
  if (some === undefined) return undefined
  return full === undefined ? { some } : { some, full }
}

/** Interfaces whose bytes pass another one too, or never leave the machine. */
const INSIDE = /^(lo|veth|tap|tun|vnet|br-|br\d|virbr|docker|cni|flannel|cali|ifb|dummy|bond|team|wg)/

/** /proc/net/dev: bytes since boot, over the interfaces that lead outside. */
export function parseNetwork(text: string): { receivedBytes: number; sentBytes: number } {
  let receivedBytes = 0
  let sentBytes = 0
  for (const [, name = '', rest = ''] of text.matchAll(/^ *([^\s:]+): *(.*)$/gm)) {
    // A VLAN's bytes are its parent's.
    if (INSIDE.test(name) || name.includes('.')) continue
    const columns = numbers(rest)
    receivedBytes += columns[0] ?? 0
    sentBytes += columns[8] ?? 0
  }
  return { receivedBytes, sentBytes }
}

const numbers = (text: string): number[] =>
  text
    .trim()
    .split(/\s+/)
    .map(Number)
    .filter((each) => Number.isFinite(each) && each >= 0)
