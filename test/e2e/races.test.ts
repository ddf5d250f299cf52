/** Two commands for one VM at once, and moves that cannot be: one wins, the other is told which; the guest runs on. */
import test, { type ExecutionContext } from 'ava'
import type { Method } from '../../node/operations.ts'
import type { VmView } from '../../node/views.ts'
import { describeFailure, exitOf } from '../../protocols/errors.ts'
import type { Outcome } from '../../protocols/outcome.ts'
import { counted, createGuest, finished, importGuest, newest, printed, vmNamed } from './guests.ts'
import { Mesh, must, type Peer, type Ran, until } from './support.ts'

const mesh = new Mesh()
let crane: Peer
let heron: Peer
let mast: Peer
/** Too large for every other host. */
let large: VmView
/** Fits everywhere. */
let ball: VmView

test.before('two hosts at one site, one at another', async () => {
  crane = await mesh.peer('crane', 'harbour', { driver: 'tcg' })
  heron = await mesh.peer('heron', 'harbour', { driver: 'tcg', memoryMiB: 96 })
  mast = await mesh.peer('mast', 'hill', { driver: 'tcg', memoryMiB: 96 })
  await mesh.form(crane, heron, mast)
  await importGuest(mesh, crane, 'guest')
  large = await createGuest(mesh, crane, 'large', 'guest', '128MiB')
  await until('heron to have committed its capacity', async () => {
    const spec = { name: 'dry', memory: '32MiB', disks: [{ image: 'guest' }] }
    const placed = await mesh.try<{ host: string }>(crane, 'vm.create', { spec, dryRun: true })
    return placed.ok && placed.value.host === 'heron'
  })
  ball = await createGuest(mesh, crane, 'ball', 'guest')
  // By its name another site knows it from the next digest on.
  await until('mast to have heard of ball', async () => (await vmNamed(mesh, mast, 'ball')) !== undefined)
})
test.after.always(() => mesh.close())

const boots = (peer: Peer, vm: VmView): number =>
  printed(peer, vm.id).filter(({ kind }) => kind === 'boot').length

const hostOf = async (vm: VmView): Promise<Peer> => {
  const host = (await vmNamed(mesh, crane, vm.name))?.host
  return mesh.peers.find(({ name }) => name === host) as Peer
}

type Asked = Outcome<{ job?: string }>

/** Both are asked in the same moment, over sockets: a command's own start would take longer than what it asks for. */
const atOnce = (...asked: [peer: Peer, method: Method, params: object][]): Promise<Asked[]> =>
  Promise.all(asked.map(([peer, method, params]) => mesh.try<{ job?: string }>(peer, method, params)))

/** Exit status 4 and who has it in hand. */
function busy(t: ExecutionContext, asked: Asked | undefined, by: RegExp): void {
  if (asked === undefined || asked.ok) return t.fail('both were taken')
  t.is(asked.failure.code, 'BUSY', describeFailure(asked.failure))
  t.is(exitOf(asked.failure), 4)
  t.regex(describeFailure(asked.failure), by)
}

test.serial(
  'a move to where there is no room is refused with a reason for each host; the VM runs on',
  async (t) => {
    t.is(large.host, 'crane')
    const move = (to: string): Promise<Ran> =>
      mesh.godwit(crane, ['vm', 'move', 'large', '--to', to, '-o', 'json'])
    const [toSite, toPeer, near, nowhere, here] = [
      await move('hill'),
      await move('mast'),
      await move('auto'),
      await move('moon'),
      await move('crane'),
    ]
    for (const [ran, host] of [
      [toSite, 'mast'],
      [toPeer, 'mast'],
      [near, 'heron'],
    ] as const) {
      t.is(ran.code, 4, ran.err)
      t.is(ran.error?.code, 'NO_HOST', ran.err)
      t.regex(ran.error?.message ?? '', new RegExp(`no host takes large: ${host}: 128 MiB of memory wanted`))
      t.is(ran.out, '')
    }
    t.is(nowhere.code, 8, nowhere.err)
    t.is(here.error?.code, 'MOVE_REFUSED', here.err)
    t.is(here.code, 4)
    await counted(crane, large.id, newest(crane, large.id) + 2)
    t.like(await vmNamed(mesh, crane, 'large'), { state: 'running', host: 'crane', job: '' })
    t.is(boots(crane, large), 1)
  },
)

test.serial('of two moves at once one goes', async (t) => {
  const from = await hostOf(ball)
  const count = newest(from, ball.id)
  const asked = await atOnce(
    [crane, 'vm.move', { name: 'ball', to: 'crane' }],
    [mast, 'vm.move', { name: 'ball', to: 'hill' }],
  )
  const won = asked.findIndex(({ ok }) => ok)
  const job = jobOf(asked[won])
  busy(t, asked[1 - won], new RegExp(`ball is in the hands of move ${job}`))
  t.like(await finished(mesh, from, job), { state: 'done' })
  const [to, other] = won === 0 ? [crane, mast] : [mast, crane]
  await counted(to, ball.id, count + 1)
  t.is(boots(to, ball), 1)
  t.is(boots(other, ball), 0)
  if (to === mast) must(await mesh.godwit(mast, ['vm', 'move', 'ball', '--to', 'crane']))
})

for (const first of ['stop', 'move'] as const) {
  test.serial(`of a stop and a move at once one is done: ${first} first`, async (t) => {
    await until('it to run', async () => (await vmNamed(mesh, crane, 'ball'))?.state === 'running')
    const from = await hostOf(ball)
    const to = from === crane ? heron : crane
    const stop = [from, 'vm.stop', { name: 'ball' }] as [Peer, Method, object]
    const move = [from, 'vm.move', { name: 'ball', to: to.name }] as [Peer, Method, object]
    const asked = await (first === 'stop' ? atOnce(stop, move) : atOnce(move, stop))
    const [stopped, moved] = first === 'stop' ? asked : asked.toReversed()
    if (stopped?.ok === true) {
      busy(t, moved, /ball is in the hands of vm stop/)
      t.like(await vmNamed(mesh, crane, 'ball'), { state: 'stopped', wanted: 'stopped', host: from.name })
      t.is(printed(from, ball.id).at(-1)?.kind, 'off')
      t.is(boots(to, ball), 0)
      must(await mesh.godwit(crane, ['vm', 'start', 'ball']))
    } else {
      const job = jobOf(moved)
      busy(t, stopped, new RegExp(`ball is in the hands of move ${job}`))
      t.like(await finished(mesh, from, job), { state: 'done' })
      t.is((await hostOf(ball)).name, to.name)
      await until('it to run there', () => boots(to, ball) === 1)
    }
  })
}

function jobOf(asked: Asked | undefined): string {
  if (asked?.ok !== true || asked.value.job === undefined) throw new Error(`no job: ${JSON.stringify(asked)}`)
  return asked.value.job
}
