/** Which data folders may be acted on, as a table. */
import test from 'ava'
import { judge, type Outside } from '../../../node/binding/judge.ts'
import type { Binding, Facts, Position } from '../../../storage/records.ts'

const A = '01JD0000000000000000B1ND1A'
const B = '01JD0000000000000000B1ND1B'
const here: Facts = { machine: 'm1', product: 'p1', fileSystem: 'f1', folder: 'inode 1' }
const inside = (counter: number, more: Partial<Binding> = {}): Binding => ({
  id: A,
  incarnation: 1,
  counter,
  ...here,
  ...more,
})
const mark = (counter: number, more: Partial<Position> = {}): Outside => ({
  kind: 'mark',
  mark: { id: A, incarnation: 1, counter, ...more },
})
const none: Outside = { kind: 'none' }
const damaged: Outside = { kind: 'damaged', why: 'it is no mark' }
const unusable: Outside = { kind: 'unusable', why: 'it cannot be read' }

const rows: [
  what: string,
  inside: Binding | undefined,
  outside: Outside,
  now: Partial<Facts>,
  verdict: string | RegExp,
][] = [
  ['a new folder, or one of before bindings', undefined, none, {}, 'first'],
  ['the same where nothing can be noted', undefined, unusable, {}, 'first'],
  ['level', inside(7), mark(7), {}, 'bound'],
  ['a crash between inside and outside', inside(8), mark(7), {}, 'bound'],
  ['a crash between the two of the first', inside(1), none, {}, 'bound'],
  ['never had a place for its mark', inside(1), unusable, {}, 'bound'],
  ['a crash between the two of peer replace', inside(1, { id: B, incarnation: 2 }), mark(40), {}, 'bound'],
  ['a backup of an hour ago', inside(6), mark(7), {}, /older than its mark/],
  ['a backup of last year', inside(2), mark(900), {}, /bound 2 times, and its mark says 900/],
  ['a backup of before bindings', undefined, mark(3), {}, /knows of no binding/],
  [
    'a backup of before peer replace',
    inside(99),
    mark(2, { id: B, incarnation: 2 }),
    {},
    /was replaced since/,
  ],
  [
    'replaced twice, and the mark of before both',
    inside(9, { id: B, incarnation: 3 }),
    mark(5),
    {},
    /replaced since/,
  ],
  ['a mark that was put back', inside(9), mark(7), {}, /its mark is older than it is/],
  ['a mark that is gone', inside(9), none, {}, /mark outside is gone/],
  ['a mark that cannot be looked at', inside(9), unusable, {}, /cannot be read: it cannot/],
  ['a mark that is damaged', inside(9), damaged, {}, /cannot be read: it is no mark/],
  ['a damaged mark of a folder that knows of none', undefined, damaged, {}, /cannot be read/],
  ['another machine, with its own marks', inside(7), none, { machine: 'm2' }, /machine m1, and this is m2/],
  ['another machine that was cloned, mark and all', inside(7), mark(7), { product: 'p2' }, /uuid p1/],
  ['a copy on another file system', inside(7), mark(7), { fileSystem: 'f2' }, /file system f1/],
  ['a copy beside it', inside(7), mark(7), { folder: 'inode 2' }, /folder with inode 1, and this is inode 2/],
  ['another machine before the first mark', inside(1), none, { machine: 'm2' }, /machine m1/],
  ['what cannot be read now', inside(7), mark(7), { machine: '', product: '', fileSystem: '' }, 'bound'],
  ['what could not be read then', inside(7, { product: '' }), mark(7), { product: 'p2' }, 'bound'],
]

for (const [what, within, outside, now, verdict] of rows)
  test(what, (t) => {
    const judged = judge(within, outside, { ...here, ...now })
    if (typeof verdict === 'string') return void t.is(judged.kind, verdict as typeof judged.kind)
    t.is(judged.kind, 'mismatch')
    t.regex(judged.kind === 'mismatch' ? judged.why : '', verdict)
  })
