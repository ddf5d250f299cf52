import test from 'ava'
import { precious, type Referring, references } from '../../../node/keeping/references.ts'

const NONE: Referring = { grants: [], moves: [], promises: [], kept: [], pins: [], uses: [] }
const disk = (image: string) => ({ image, bytes: 1 })

const rows: readonly (readonly [what: string, by: Partial<Referring>, found: Record<string, string[]>])[] = [
  ['nothing', {}, {}],
  [
    'a VM that this host holds',
    { grants: [{ name: 'web', disks: [disk('a'), disk('b')] }] },
    { a: ['vm web'], b: ['vm web'] },
  ],
  [
    'both ends of a move',
    { moves: [{ name: 'web', images: ['a', 'c'] }] },
    { a: ['move of web'], c: ['move of web'] },
  ],
  ['what was promised in a move', { promises: [{ vm: 'v1', disks: [disk('c')] }] }, { c: ['move of v1'] }],
  [
    'a kept copy: what it lies on, and what it is the same as',
    { kept: [{ vm: 'v1', bases: ['a'], content: ['c'] }] },
    { a: ['kept copy of v1'], c: ['kept copy of v1'] },
  ],
  ['a pin', { pins: [{ image: 'a' }] }, { a: ['pin'] }],
  ['a job', { uses: ['a', 'a'] }, { a: ['in use'] }],
  [
    'several, each once',
    { grants: [{ name: 'web', disks: [disk('a'), disk('a')] }], pins: [{ image: 'a' }] },
    { a: ['vm web', 'pin'] },
  ],
]

for (const [what, by, found] of rows)
  test(`refers to images: ${what}`, (t) => {
    t.deepEqual(Object.fromEntries(references({ ...NONE, ...by })), found)
  })

test('precious is what the site has named, what its VMs start from, and what moved VMs left here', (t) => {
  const all = precious(
    [{ image: 'a' }],
    [{ disks: [disk('b')] }, { disks: [disk('a')] }],
    [{ content: ['c'] }],
  )
  t.deepEqual([...all].sort(), ['a', 'b', 'c'])
})
