import test from 'ava'
import { wallTimeIn } from '../../../node/wall-time.ts'
import { holds, names, parseDays, parseRate, parseTime, type Rule } from '../../../protocols/rate/schedule.ts'

const rates: [text: string, bytesPerS: number | undefined][] = [
  ['20Mbit', 2.5e6],
  ['20Mbit/s', 2.5e6],
  ['2.5Mbit', 312_500],
  ['64kbit', 8_000],
  ['1Gbit', 125e6],
  ['5MB', 5e6],
  ['4MiB', 4 * 1024 ** 2],
  ['40', undefined],
  ['40mbit', undefined],
  ['8kbit', undefined],
  ['-1Mbit', undefined],
  ['', undefined],
]
for (const [text, bytesPerS] of rates) test(`a rate: "${text}"`, (t) => t.is(parseRate(text), bytesPerS))

test('times and days as they are written', (t) => {
  t.is(parseTime('08:00'), 480)
  t.is(parseTime('24:00'), 1_440)
  for (const text of ['24:01', '8', '08:60', '']) t.is(parseTime(text), undefined, text)
  t.deepEqual(parseDays('mon-fri'), [1, 2, 3, 4, 5])
  t.deepEqual(parseDays('fri-mon'), [0, 1, 5, 6])
  t.deepEqual(parseDays('Sat, sun'), [0, 6])
  for (const text of ['', 'monday', 'mon-tue-wed']) t.is(parseDays(text), undefined, text)
})

const office: Partial<Rule> = { from: 480, until: 1_080, days: [1, 2, 3, 4, 5] }
const night: Partial<Rule> = { from: 1_320, until: 360, days: [5] }
const windows: [what: string, rule: Partial<Rule>, day: number, minute: number, open: boolean][] = [
  ['all day', {}, 0, 0, true],
  ['at its beginning', office, 1, 480, true],
  ['before it', office, 1, 479, false],
  ['at its end', office, 1, 1_080, false],
  ['on another day', office, 6, 600, false],
  ['a day without times', { days: [6] }, 6, 0, true],
  ['across midnight, in the evening', night, 5, 1_320, true],
  ['across midnight, in the morning after', night, 6, 359, true],
  ['across midnight, at its end', night, 6, 360, false],
  ['across midnight, in the morning of its day', night, 5, 100, false],
  ['until 24:00', { from: 1_200, until: 1_440 }, 3, 1_439, true],
]
for (const [what, rule, day, minute, open] of windows)
  test(`a window: ${what}`, (t) => t.is(holds({ to: '*', ...rule }, { day, minute }), open))

test('whom a rule names', (t) => {
  const there = { site: 'hill', name: 'heron' }
  const is = (to: string, here = 'quay'): boolean => names({ to }, here, there)
  t.deepEqual(
    ['*', 'other-sites', 'hill', 'hill/heron'].map((to) => is(to)),
    [true, true, true, true],
  )
  t.deepEqual(
    ['quay', 'hill/crane', 'heron'].map((to) => is(to)),
    [false, false, false],
  )
  t.false(is('other-sites', 'hill'))
})

test('what the wall shows is what holds, on the days on which clocks change, too', (t) => {
  const berlin = wallTimeIn('Europe/Berlin')
  const at = (iso: string): string => {
    const { day, minute } = berlin(Date.parse(iso))
    return `${day} ${Math.floor(minute / 60)}:${minute % 60}`
  }
  // 29 March 2026: 02:00 is 03:00. 25 October: 03:00 is 02:00.
  t.is(at('2026-03-29T00:59:00Z'), '0 1:59')
  t.is(at('2026-03-29T01:00:00Z'), '0 3:0')
  t.is(at('2026-10-25T00:30:00Z'), '0 2:30')
  t.is(at('2026-10-25T01:30:00Z'), '0 2:30')
  const skipped: Rule = { to: '*', from: 120, until: 180 }
  const minutes = (day: string): number =>
    Array.from({ length: 24 * 60 }, (_, n) =>
      berlin(Date.parse(`${day}T00:00:00Z`) - 3_600_000 + n * 60_000),
    ).filter((time) => holds(skipped, time)).length
  t.is(minutes('2026-03-28'), 60)
  t.is(minutes('2026-03-29'), 0)
  t.is(minutes('2026-10-25'), 120)
})
