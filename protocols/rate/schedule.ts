/**
 * Which caps hold now: an operator's rules, the clock on the wall, and who is where.
 *
 * A window is what the clock shows: "08:00 to 18:00" ends when clocks show 18:00, on the days on which they change as on
 * all others. So in the night in which an hour comes twice a window inside it holds twice, and in the one without
 * it not at all. One that ends before it begins crosses midnight, and belongs to the day on which it begins. Where several
 * rules name a peer all of them hold, so the narrowest does; a rule's rate is shared by all peers it names.
 */
export const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const

/** What a clock on the wall shows: days from Sunday, minutes from midnight. */
export type WallTime = { readonly day: number; readonly minute: number }

export type Rule = {
  /** `other-sites`, `*` for everybody, a site's name, or `site/peer`. */
  readonly to: string
  /** In bytes a second, sent and received; undefined: as fast as it goes. */
  readonly up?: number | undefined
  readonly down?: number | undefined
  /** Minutes from midnight; both undefined: all day. */
  readonly from?: number | undefined
  readonly until?: number | undefined
  /** Days on which it begins, from Sunday; undefined: all. */
  readonly days?: readonly number[] | undefined
}

/** Whether the rule's window is open. */
export function holds({ from, until, days }: Rule, { day, minute }: WallTime): boolean {
  const begins = (on: number): boolean => days === undefined || days.includes(on)
  if (from === undefined || until === undefined || from === until) return begins(day)
  if (from < until) return begins(day) && minute >= from && minute < until
  return (begins(day) && minute >= from) || (begins((day + 6) % 7) && minute < until)
}

export type Place = { readonly site: string; readonly name: string }

/** Whether a peer at `there` is one of those that the rule names. */
export function names({ to }: Rule, here: string, there: Place): boolean {
  if (to === '*') return true
  if (to === 'other-sites') return there.site !== here
  return to === there.site || to === `${there.site}/${there.name}`
}

const RATE = /^(\d{1,9}(?:\.\d{1,3})?)\s*([kMG]?)(bit|B|iB)(?:\/s|ps)?$/
const TIME = /^([01]?\d|2[0-4]):([0-5]\d)$/
const FACTOR: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, G: 1e9 }
const BINARY: Readonly<Record<string, number>> = { '': 1, k: 1024, M: 1024 ** 2, G: 1024 ** 3 }
/** Below it not even what carries the bytes gets through in the time that peers wait for each other. */
export const RATE_BYTES_PER_S_MIN = 8_000
/** Nothing that Node sends is faster. */
const RATE_BYTES_PER_S_MAX = 12.5e9

/** `40Mbit`, `5MB`, `4.5MiB`, with or without `/s`: bytes a second; undefined when it is no rate. */
export function parseRate(text: string): number | undefined {
  const [, number = '', prefix = '', unit = ''] = RATE.exec(text.trim()) ?? []
  if (unit === '') return undefined
  const factor = (unit === 'iB' ? BINARY : FACTOR)[prefix] as number
  const bytes = (Number(number) * factor) / (unit === 'bit' ? 8 : 1)
  return bytes >= RATE_BYTES_PER_S_MIN && bytes <= RATE_BYTES_PER_S_MAX ? bytes : undefined
}

/** `8:00`, `18:30`, `24:00`: minutes from midnight. */
export function parseTime(text: string): number | undefined {
  const [, hours = '', minutes = ''] = TIME.exec(text) ?? []
  const at = Number(hours) * 60 + Number(minutes)
  return hours === '' || at > 24 * 60 ? undefined : at
}

/** `mon-fri`, `sat,sun`, `fri-mon`: days from Sunday. */
export function parseDays(text: string): readonly number[] | undefined {
  const days = new Set<number>()
  for (const part of text.toLowerCase().split(',')) {
    const [first, last = first, ...more] = part.trim().split('-').map(dayOf)
    if (first === undefined || last === undefined || first < 0 || last < 0 || more.length > 0)
      return undefined
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day)
      if (day === last) break
    }
  }
  return [...days].sort((a, b) => a - b)
}

const dayOf = (text: string): number => DAYS.findIndex((day) => day === text.trim())
