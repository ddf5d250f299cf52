/** What a clock on the wall of a time zone shows: a pure function of the instant and the zone's rules, summer time included. */
import { DAYS, type WallTime } from '../protocols/rate/schedule.ts'

/** `zone`: an IANA name; empty: this host's. @throws RangeError when there is no such zone. */
export function wallTimeIn(zone: string): (ms: number) => WallTime {
  const format = new Intl.DateTimeFormat('en-US', {
    ...(zone !== '' && { timeZone: zone }),
    weekday: 'short',
    hour: 'numeric',
    minute: 'numeric',
    hourCycle: 'h23',
  })
  return (ms) => {
    const parts = new Map(format.formatToParts(ms).map(({ type, value }) => [type, value]))
    const day = DAYS.findIndex((name) => name === parts.get('weekday')?.toLowerCase())
    return { day, minute: Number(parts.get('hour')) * 60 + Number(parts.get('minute')) }
  }
}

export function isTimeZone(zone: string): boolean {
  try {
    wallTimeIn(zone)
    return true
  } catch {
    return false
  }
}
