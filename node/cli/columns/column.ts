/** What a table's column is, and the columns that several kinds of answer have. */
import { humanAge, humanBytes } from '../human.ts'

export type Cell = string | number | boolean | null
export type Column<T = never> = {
  /** What -c and --sort-by call it. */
  readonly key: string
  /** Shown only by `-o wide`, or when asked for. */
  readonly wide?: boolean
  readonly right?: boolean
  /** Exact: bytes as bytes, times as ISO 8601. */
  readonly value: (item: T) => Cell
  readonly text?: (item: T, nowMs: number) => string
}
export type View<T = never> = {
  readonly columns: readonly Column<T>[]
  /** What `-o name` prints: what other commands take. */
  readonly name: (item: T) => string
  /** What a detail shows below its columns, as YAML. */
  readonly more?: (item: T) => object
}

export const MIB = 1024 ** 2
export const view = <T>(made: View<T>): View => made
/** A value from elsewhere that is too old is never shown as if it were the present one. */
export const mark = (text: string, { stale }: { stale: boolean }): string =>
  stale ? `${text} (stale)` : text
export const age = {
  key: 'age',
  value: ({ ageMs }: { ageMs: number }) => ageMs,
  /** Stale from the first moment: nothing was heard of it yet. */
  text: ({ ageMs, stale }: { ageMs: number; stale?: boolean }) =>
    stale === true && ageMs === 0 ? 'never' : ageMs > 0 ? humanAge(ageMs) : 'now',
}
export const rtt = {
  key: 'rtt',
  right: true,
  value: ({ rttMs }: { rttMs: number | null }) => rttMs,
  text: ({ rttMs }: { rttMs: number | null }) => (rttMs === null ? '-' : `${rttMs.toFixed(1)} ms`),
}
export const memory = {
  key: 'memory',
  right: true,
  value: ({ memoryMiB }: { memoryMiB: number }) => memoryMiB * MIB,
  text: ({ memoryMiB }: { memoryMiB: number }) => humanBytes(memoryMiB * MIB),
}
export const list = (texts: readonly string[]): string => texts.join(',')
