/**
 * Does what plan.ts said: one row for each operation, on the hypervisor, the disks and what is held. Who asks sees to it that
 * it is one at a time for each VM.
 *
 * Invariant: the plan is asked again right before each start.
 */
import type { Clock } from '../../protocols/clock.ts'
import { compareEpochs, type Epoch, printEpoch } from '../../protocols/epoch.ts'
import { type Done, failed, ok } from '../../protocols/outcome.ts'
import type { Grant } from '../../storage/records.ts'
import { specOf } from '../catalog/site.ts'
import type { Disks, Hypervisor, KeepingTerms } from '../hypervisor.ts'
import type { Grants } from './grants.ts'
import type { Local } from './local.ts'
import type { Operation } from './plan.ts'
import type { Surroundings } from './wanted.ts'

/** What operations are done on. */
export type Performing = {
  readonly clock: Clock
  readonly around: Surroundings
  readonly hypervisor: Hypervisor
  readonly disks: Disks
  readonly grants: Grants
  plan(local: Local): Operation
}

type Perform = (local: Local, ports: Performing, done: Done<void>) => void

/** What was promised for a move under this grant was captured after the guest's last word: the disks are the same as that. */
function keepingTerms({ grant, promise }: Local, { clock }: Pick<Performing, 'clock'>): KeepingTerms {
  const isLast =
    grant !== undefined && promise !== undefined && compareEpochs(promise.epoch, grant.epoch) === 0
  const content = isLast && promise.m !== undefined ? promise.disks.map(({ image }) => image) : []
  return { atMs: clock.wallMs(), content }
}

/** How long a guest may take to power off before the one who asked is told. */
const POWER_OFF_MS = 60_000
const NO_EPOCH: Epoch = [0, 0, 0, 0]

const OPERATIONS: { readonly [K in Exclude<Operation['kind'], 'none'>]: Perform } = {
  kill: (local, { hypervisor }, done) => hypervisor.kill(local.vm, ended(local, done)),

  'power-off': powerOff,

  fetch: (local, { around }, done) =>
    around.fetch(local.vm, local.grant?.disks ?? [], (outcome) => {
      local.images = outcome.ok
      done(outcome)
    }),

  prepare: ({ vm, grant }, { disks }, done) =>
    disks.prepare(vm, sourcesOf(grant), (outcome) => done(outcome.ok ? ok(undefined) : outcome)),

  start,

  'set-aside': (local, ports, done) => {
    const { vm, grant } = local
    if (!ports.disks.has(vm)) return drop(local, ports, done)
    ports.disks.setAside(vm, printEpoch(grant?.epoch ?? NO_EPOCH), keepingTerms(local, ports), (outcome) =>
      outcome.ok ? drop(local, ports, done) : done(outcome),
    )
  },

  remove: (local, ports, done) => {
    const { vm, grant } = local
    ports.disks.remove(vm, (outcome) => {
      if (!outcome.ok) return done(outcome)
      drop(local, ports, (dropped) => {
        if (dropped.ok && grant !== undefined) ports.around.gone(vm, grant.epoch)
        done(dropped)
      })
    })
  },
}

export function perform(
  kind: Exclude<Operation['kind'], 'none'>,
  local: Local,
  ports: Performing,
  done: Done<void>,
): void {
  OPERATIONS[kind](local, ports, done)
}

export function powerOff(
  local: Local,
  { hypervisor }: Pick<Performing, 'hypervisor'>,
  done: Done<void>,
): void {
  local.pressed = true
  hypervisor.powerOff(local.vm, POWER_OFF_MS, ended(local, done))
}

const ended =
  (local: Local, done: Done<void>): Done<void> =>
  (outcome) => {
    if (outcome.ok) local.machine = undefined
    done(outcome)
  }

function start(local: Local, ports: Performing, done: Done<void>): void {
  const { vm, grant } = local
  if (grant === undefined) return done(failed({ code: 'NOT_GRANTED', vm, why: 'this host holds no grant' }))
  ports.disks.prepare(vm, sourcesOf(grant), (prepared) => {
    if (!prepared.ok) return done(prepared)
    // What came to be known meanwhile counts.
    const { kind, why } = ports.plan(local)
    if (kind !== 'start')
      return done(failed({ code: 'NOT_GRANTED', vm: grant.name, why: why || 'it is not wanted running' }))
    const config = { vm, name: grant.name, epoch: grant.epoch, spec: specOf(grant), disks: prepared.value }
    ports.hypervisor.start(config, (started) => {
      if (!started.ok) return done(started)
      Object.assign(local, { machine: started.value, asked: false, pressed: false })
      const { boot } = ports.around
      if (grant.boot !== boot && local.grant === grant) ports.grants.save(local, { ...grant, boot })
      done(ok(undefined))
    })
  })
}

function drop(local: Local, { grants, hypervisor }: Performing, done: Done<void>): void {
  grants.drop(local, (outcome) => hypervisor.forget(local.vm, () => done(outcome)))
}

/** What its disks start from, each as large as its spec wants it. */
function sourcesOf(grant: Grant | undefined): { image: string; bytes: number }[] {
  if (grant === undefined) return []
  const spec = specOf(grant)
  return grant.disks.map(({ image, bytes }, index) => ({
    image,
    bytes: Math.max(bytes, (spec.disks[index]?.sizeMiB ?? 0) * 1024 ** 2),
  }))
}
