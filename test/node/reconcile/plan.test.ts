import test from 'ava'
import type { Epoch } from '../../../protocols/epoch.ts'
import { type Actual, type Operation, plan, type Wanted } from '../../../node/reconcile/plan.ts'

const one: Epoch = [0, 1, 0, 1]
const two: Epoch = [0, 1, 0, 2]
const home: Epoch = [0, 2, 0, 1]
const held: Wanted = {
  wanted: 'running',
  grant: one,
  promised: undefined,
  agreed: { epoch: one, here: true },
  deleting: false,
  moving: false,
  kill: false,
  wait: undefined,
}
const bare: Actual = { machine: undefined, disks: false, images: false }
const runs: Actual = { machine: { state: 'running', epoch: one }, disks: true, images: true }
const stopped: Actual = { ...runs, machine: undefined }

const rules: [rule: string, wanted: Partial<Wanted>, actual: Actual, kind: Operation['kind']][] = [
  ['fetches first', {}, bare, 'fetch'],
  ['prepares disks from what was fetched', {}, { ...bare, images: true }, 'prepare'],
  ['starts what is prepared', {}, stopped, 'start'],
  ['leaves what runs alone', {}, runs, 'none'],
  ['leaves a paused guest alone', {}, { ...runs, machine: { state: 'paused', epoch: one } }, 'none'],
  ['starts without any group: a grant is enough', { agreed: undefined }, stopped, 'start'],
  ['starts nothing without a grant', { grant: undefined }, { ...bare, images: true }, 'none'],
  ['kills what runs without a grant', { grant: undefined }, runs, 'kill'],
  ['kills what a higher epoch gave elsewhere', { agreed: { epoch: two, here: false } }, runs, 'kill'],
  [
    'kills it in the middle of a move too',
    { agreed: { epoch: home, here: false }, moving: true },
    runs,
    'kill',
  ],
  [
    'keeps the disks of what went elsewhere out of the way',
    { agreed: { epoch: home, here: false } },
    stopped,
    'set-aside',
  ],
  [
    'keeps the disks of what it promised until a record says who has it (found by the simulator, mesh seed 12)',
    { promised: one, agreed: undefined },
    stopped,
    'none',
  ],
  [
    'keeps running under a grant newer than its news',
    { grant: two },
    { ...runs, machine: { state: 'running', epoch: two } },
    'none',
  ],
  [
    'kills what still runs under an older grant',
    { grant: two, agreed: { epoch: two, here: true } },
    runs,
    'kill',
  ],
  ['starts nothing it has promised', { promised: one, moving: true }, stopped, 'none'],
  ['kills what runs against a promise', { promised: one }, runs, 'kill'],
  [
    'runs again under an epoch past its promise',
    { promised: one, grant: two, agreed: { epoch: two, here: true } },
    stopped,
    'start',
  ],
  ['does nothing while a move has it', { moving: true }, stopped, 'none'],
  ['leaves a guest alone that a move will stop', { moving: true }, runs, 'none'],
  ['powers off what is wanted stopped', { wanted: 'stopped' }, runs, 'power-off'],
  ['kills what is to stop at once', { wanted: 'stopped', kill: true }, runs, 'kill'],
  ['leaves what is stopped alone', { wanted: 'stopped' }, stopped, 'none'],
  ['waits when it has a reason to', { wait: 'db does not run yet' }, stopped, 'none'],
  ['does not let a wait stop a guest', { wait: 'autostart is off' }, runs, 'none'],
  ['ends what is being deleted', { deleting: true }, runs, 'kill'],
  ['removes what is being deleted', { deleting: true }, stopped, 'remove'],
]

for (const [rule, wanted, actual, kind] of rules) {
  test(`a host ${rule}`, (t) => t.is(plan({ ...held, ...wanted }, actual).kind, kind))
}

test('what it does not do has a reason', (t) => {
  t.regex(plan({ ...held, grant: undefined }, bare).why, /no grant/)
  t.is(plan({ ...held, wait: 'db does not run yet' }, stopped).why, 'db does not run yet')
})
