/** Specs that a peer with other ideas may send: none may enter a log, where every peer would fall over it. */
import test from 'ava'
import { meshCommand, type MeshCommand } from '../../node/catalog/mesh.ts'
import { siteCommand, type SiteCommand } from '../../node/catalog/site.ts'
import type { Epoch } from '../../protocols/epoch.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { Mesh } from './support.ts'

const m = '01J00000000000000000000001'
const vm = `harbour1-${m}`
const host = 'anna11111111111111'
const epoch: Epoch = [0, 1, 0, 1]
const good = JSON.stringify({ name: 'web', cpus: 1, memoryMiB: 256, disks: [{ image: 'base' }], labels: {} })

const specs: [what: string, spec: string][] = [
  ['no JSON', 'web'],
  ['null', 'null'],
  ['an empty object', '{}'],
  ['a list', '[]'],
  ['no disks', '{"cpus":1,"memoryMiB":256,"labels":{}}'],
  ['no labels', '{"cpus":1,"memoryMiB":256,"disks":[]}'],
  ['a disk that is nothing', '{"cpus":1,"memoryMiB":256,"disks":[null],"labels":{}}'],
  ['a label that is no text', '{"cpus":1,"memoryMiB":256,"disks":[],"labels":{"a":1}}'],
  ['memory below zero', '{"cpus":1,"memoryMiB":-256,"disks":[],"labels":{}}'],
  ['CPUs in words', '{"cpus":"one","memoryMiB":256,"disks":[],"labels":{}}'],
]

const site: ((spec: string) => SiteCommand)[] = [
  (spec) => ({ kind: 'vm-create', vm, name: 'web', spec, disks: [], host, wanted: 'running' }),
  (spec) => ({ kind: 'reserve', m, vm, name: 'web', spec, host, epoch }),
  (spec) => ({ kind: 'vm-adopt', m, vm, name: 'web', spec, disks: [], host, epoch, wanted: 'running' }),
]
const intend = (spec: string): MeshCommand => ({
  kind: 'move-intend',
  m,
  vm,
  name: 'web',
  from: 'harbour1',
  to: 'hill1111',
  source: host,
  host,
  epoch,
  spec,
  wanted: 'running',
})

const refused = { name: 'GodwitError' }

for (const [what, spec] of specs) {
  test(`no command with a spec that is or has ${what} is said or heard`, (t) => {
    for (const command of site) {
      t.throws(() => siteCommand.encode(command(spec)), refused)
      const heard = t.throws(
        () => siteCommand.decode(swapped(siteCommand.encode(command(good)), spec)),
        refused,
      )
      t.like(heard, { failure: { code: 'FRAME_INVALID' } })
    }
    t.throws(() => meshCommand.encode(intend(spec)), refused)
    const heard = t.throws(() => meshCommand.decode(swapped(meshCommand.encode(intend(good)), spec)), refused)
    t.like(heard, { failure: { code: 'FRAME_INVALID' } })
  })
}

test('a frame whose spec is swapped for another good one is heard', (t) => {
  const other = JSON.stringify({ cpus: 2, memoryMiB: 256, disks: [], labels: {} })
  t.notThrows(() => meshCommand.decode(swapped(meshCommand.encode(intend(good)), other)))
})

const room = { m, vm, name: 'web', spec: good, host: null, epoch, bytes: 0 }

test('a peer that asks for room in another form is refused, and nothing is reserved', (t) => {
  const mesh = new Mesh()
  const questions = [{ ...room, bytes: 'many' }, { ...room, host: 7 }, { m: 7 }, [], null]
  t.deepEqual(
    answersTo(mesh, questions).map(codeOf),
    questions.map(() => 'FRAME_INVALID'),
  )
  t.deepEqual(mesh.context('aa-1').agreement.site.state.reservations, {})
  t.true(mesh.create('web').ok)
})

for (const [what, spec] of specs) {
  test(`a peer that asks for room for a spec that is or has ${what} is refused`, (t) => {
    const mesh = new Mesh()
    t.is(answersTo(mesh, [{ ...room, spec }]).map(codeOf)[0], 'FRAME_INVALID')
    t.deepEqual(mesh.context('aa-1').agreement.site.state.reservations, {})
  })
}

function answersTo(mesh: Mesh, questions: readonly unknown[]): Outcome<unknown>[] {
  const { asking } = mesh.context('bb-1')
  const to = mesh.host('aa-1').terms.id
  const answers: Outcome<unknown>[] = []
  for (const params of questions) asking.there(to, 'move.reserve', params, (outcome) => answers.push(outcome))
  mesh.until('all are answered', () => answers.length === questions.length)
  return answers
}

const codeOf = (outcome: Outcome<unknown>): string => (outcome.ok ? 'ok' : outcome.failure.code)

/** A frame in which the good spec is another one, with spaces behind it to have as many bytes. */
function swapped(frame: Uint8Array, spec: string): Uint8Array {
  const bytes = Buffer.from(frame)
  const at = bytes.indexOf(good)
  bytes.write(spec.padEnd(good.length), at)
  return bytes
}
