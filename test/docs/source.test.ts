import test from 'ava'
import { constantsOf, headOf, recordRows, taggedRows } from './source.ts'

const SOURCE = `/**
 * What two say
 * to each other.
 */
import { x } from './x.ts'

// Time ---------

/** A tick. */
export const TICK_MS = 100
export const OTHER = 2 ** 3

const header = { from: peerId, to: peerId }
const hello = record({ id, name: text(3, 1) })
const shape = tagged({
  /** Are you there? Or, {not}. */
  ping: record({ ...header, seq: integer(0, 4), news: list(record({ a, b }), 3) }),
  /** To one. */
  'ping-req': record({
    ...elsewhere,
    /** Whom. */
    target: peerId,
    hello,
  }),
  bare: nothing,
})
export const message = codec('m', shape, 3)
export const first = codec('hello', hello)
export const second = codec(
  'second',
  record({ a, 'b-c': d }),
)
`

test('what the sources say of themselves is read', (t) => {
  t.is(headOf(SOURCE), 'What two say\nto each other.')
  t.deepEqual(taggedRows(SOURCE), [
    [
      { name: 'ping', doc: 'Are you there? Or, {not}.', fields: ['from', 'to', 'seq', 'news'] },
      {
        name: 'ping-req',
        doc: 'To one. `target`: Whom.',
        fields: ['...elsewhere', 'target', 'hello {id, name}'],
      },
      { name: 'bare', doc: '', fields: [] },
    ],
  ])
  t.deepEqual(recordRows(SOURCE), [
    { name: 'hello', doc: '', fields: ['id', 'name'] },
    { name: 'second', doc: '', fields: ['a', 'b-c'] },
  ])
  t.deepEqual(constantsOf(SOURCE), [
    { section: 'Time', name: 'TICK_MS', value: '100', doc: 'A tick.' },
    { section: 'Time', name: 'OTHER', value: '2 ** 3', doc: '' },
  ])
})
