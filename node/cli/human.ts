/** Numbers, times and texts as people read them. */
import { stripVTControlCharacters } from 'node:util'

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const

/** Three digits that matter: `512 B`, `1.5 GiB`, `24 GiB`. */
export function humanBytes(bytes: number): string {
  let value = bytes
  let unit = 0
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024
  const text = unit === 0 || value >= 100 ? String(Math.round(value)) : value.toFixed(1).replace(/\.0$/, '')
  return `${text} ${UNITS[unit]}`
}

/** `340ms`, `12s`, `3m`, `5h`, `2d`: rounded down, one unit. */
export function humanDuration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))}ms`
  for (const [size, unit] of [
    [86_400_000, 'd'],
    [3_600_000, 'h'],
    [60_000, 'm'],
  ] as const) {
    if (ms >= size * 1.5) return `${Math.floor(ms / size)}${unit}`
  }
  return `${Math.floor(ms / 1_000)}s`
}

/** Seconds with the digits that matter for how long something took. */
export const humanSeconds = (ms: number): string =>
  ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(ms < 100_000 ? 1 : 0)} s`

export const humanAge = (ms: number): string => (ms < 1_000 ? 'now' : `${humanDuration(ms)} ago`)

/** A point in time as seen from `nowMs`: `3m ago`, `in 2h`. */
export function humanTime(iso: string, nowMs: number): string {
  const at = Date.parse(iso)
  if (Number.isNaN(at)) return iso
  return at > nowMs ? `in ${humanDuration(at - nowMs)}` : humanAge(nowMs - at)
}

export const humanShare = (share: number | null): string =>
  share === null ? '-' : `${Math.round(share * 100)}%`

const SIZES: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** In ms; undefined for what is no duration. A bare number means seconds. */
export function parseDuration(text: string): number | undefined {
  const [, number, unit = 's'] = /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)?$/.exec(text) ?? []
  return number === undefined ? undefined : Math.round(Number(number) * (SIZES[unit] ?? 0))
}

/**
 * Without escape sequences and control characters: reasons, names and serial logs come from elsewhere, and a terminal
 * does what such characters say.
 */
export const clean = (text: string): string =>
  stripVTControlCharacters(text).replaceAll(/[^\P{Cc}\t\n]/gu, '')
