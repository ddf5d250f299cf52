/** What every hypervisor promises (node/hypervisor.ts). `open` opens one that knows of no guest. */
import test, { type ExecutionContext } from 'ava'
import type { Hypervisor, Machine, MachineConfig, MachineEvent } from '../../node/hypervisor.ts'
import { firstEpoch, nextPlacement } from '../../protocols/epoch.ts'
import type { VmId } from '../../protocols/ids.ts'
import type { Done, Outcome } from '../../protocols/outcome.ts'
import { heartbeats, type Heartbeat } from '../guest/guest.ts'
import { outcomeOf, type Until } from './until.ts'

export type Opened = {
  readonly hypervisor: Hypervisor
  readonly until: Until
  /** A VM with a fresh disk whose guest counts from 0 and answers the power button. */
  machine(): Promise<MachineConfig>
  /** Ends the guest's process behind the hypervisor's back. */
  crashGuest(vm: VmId): Promise<void>
  /** Ends this life of the peer without a word; its guests go on. */
  end(): Promise<void>
  /** The same host in the peer's next life. */
  reopen(): Promise<Opened>
}

const GRACE_MS = 10_000

class Host {
  readonly opened: Opened
  readonly events: MachineEvent[] = []
  readonly #t: ExecutionContext

  constructor(t: ExecutionContext, opened: Opened) {
    this.#t = t
    this.opened = opened
    opened.hypervisor.onEvent((event) => this.events.push(event))
  }

  outcome<T>(call: (hypervisor: Hypervisor, done: Done<T>) => void): Promise<Outcome<T>> {
    return outcomeOf(this.opened.until, (done) => call(this.opened.hypervisor, done))
  }

  async value<T>(call: (hypervisor: Hypervisor, done: Done<T>) => void): Promise<T> {
    const outcome = await this.outcome(call)
    if (!outcome.ok) throw new Error(JSON.stringify(outcome.failure))
    return outcome.value
  }

  start = (machine: MachineConfig): Promise<Machine> => this.value((it, done) => it.start(machine, done))
  inspect = (): Promise<Machine[]> => this.value((it, done) => it.inspect(done))
  powerOff = (vm: VmId): Promise<void> => this.value((it, done) => it.powerOff(vm, GRACE_MS, done))
  kill = (vm: VmId): Promise<void> => this.value((it, done) => it.kill(vm, done))

  async said(vm: VmId): Promise<Heartbeat[]> {
    return heartbeats(await this.value((it, done) => it.serialLog(vm, 1_000, done)))
  }

  /** Waits until the guest has counted to `least`; returns what it has said. */
  async counted(vm: VmId, least: number): Promise<Heartbeat[]> {
    let said: Heartbeat[] = []
    // Each look waits for its answer, so the bound is on looks: some 15 s in either time.
    for (let look = 0; look < 1_000; look++) {
      said = await this.said(vm)
      if (said.some(({ kind, count }) => kind === 'count' && count >= least)) return said
      const before = said.length
      await this.opened.until(() => true, 1)
      if (said.length === before) await this.#moment()
    }
    this.#t.fail(`${vm} did not count to ${least}: ${JSON.stringify(said.slice(-3))}`)
    return said
  }

  /** Lets about 15 ms of the host's time pass. */
  #moment(): Promise<void> {
    let looks = 0
    return this.opened.until(() => ++looks > 10, 1_000)
  }
}

/** Counts never go back, over all boots that a log tells of. */
function neverBack(t: ExecutionContext, said: readonly Heartbeat[]): void {
  for (const [at, { count }] of said.entries()) {
    const before = said[at - 1]?.count ?? 0
    t.true(count >= before, `${count} after ${before}`)
  }
}

export function contract(name: string, open: (t: ExecutionContext) => Promise<Opened>): void {
  const opened = async (t: ExecutionContext): Promise<Host> => new Host(t, await open(t))

  test(`${name} knows of nothing at first, and ends nothing at once`, async (t) => {
    const host = await opened(t)
    const { vm } = await host.opened.machine()
    t.deepEqual(await host.inspect(), [])
    t.deepEqual(await host.value((it, done) => it.usage(done)), [])
    t.deepEqual(await host.said(vm), [])
    await host.powerOff(vm)
    await host.kill(vm)
    await host.value<void>((it, done) => it.forget(vm, done))
    t.deepEqual(host.events, [])
  })

  test(`${name} runs a guest once, under its epoch, until it is powered off`, async (t) => {
    const host = await opened(t)
    const machine = await host.opened.machine()
    const { vm, epoch } = machine
    const started = await host.start(machine)
    t.like(started, { vm, epoch, state: 'running' })
    t.deepEqual(await host.inspect(), [started])
    const again = { ok: false, failure: { code: 'ILLEGAL_STATE', state: 'running' } }
    t.like(await host.outcome((it, done: Done<Machine>) => it.start(machine, done)), again)
    t.like(await host.outcome((it, done: Done<void>) => it.forget(vm, done)), again)

    t.deepEqual((await host.counted(vm, 2))[0], { kind: 'boot', count: 0 })
    const [usage, ...others] = await host.value((it, done: Done<{ vm: VmId; memoryBytes: number }[]>) =>
      it.usage(done),
    )
    t.is(usage?.vm, vm)
    t.true((usage?.memoryBytes ?? 0) > 0)
    t.is(others.length, 0)

    let told = -1
    await host.value<void>((it, done) =>
      it.powerOff(vm, GRACE_MS, (outcome) => {
        told = host.events.length
        done(outcome)
      }),
    )
    t.is(told, 1, 'exited is told before the power-off is answered')
    t.deepEqual(host.events, [{ kind: 'exited', vm, epoch, why: 'shutdown' }])
    t.deepEqual(await host.inspect(), [])
    t.is((await host.said(vm)).at(-1)?.kind, 'off')
    await host.value<void>((it, done) => it.forget(vm, done))
    t.deepEqual(await host.said(vm), [])
  })

  test(`${name} keeps a guest's count over power-offs and kills`, async (t) => {
    const host = await opened(t)
    const machine = await host.opened.machine()
    const { vm } = machine
    await host.start(machine)
    const first = (await host.counted(vm, 2)).at(-1)?.count ?? 0
    await host.powerOff(vm)
    const epoch = nextPlacement(firstEpoch(0))
    await host.start({ ...machine, epoch })
    const second = (await host.counted(vm, first + 2)).at(-1)?.count ?? 0
    await host.kill(vm)
    await host.start({ ...machine, epoch })
    neverBack(t, await host.counted(vm, second + 1))
    await host.kill(vm)
    const ends = host.events.map(({ why }) => why)
    t.deepEqual(ends, ['shutdown', 'killed', 'killed'])

    const older = await host.outcome((it, done: Done<Machine>) => it.start(machine, done))
    t.like(older, { ok: false, failure: { code: 'STALE' } })
  })

  test(`${name} says in time that a guest does not power off, and when it does at last`, async (t) => {
    const host = await opened(t)
    const machine = await host.opened.machine()
    await host.start(machine)
    await host.counted(machine.vm, 1)
    const outcome = await host.outcome((it, done: Done<void>) => it.powerOff(machine.vm, 0, done))
    t.like(outcome, { ok: false, failure: { code: 'TIMEOUT', afterMs: 0 } })
    await host.powerOff(machine.vm)
    t.is(host.events.length, 1)
  })

  test(`${name} tells of a guest that ends by itself`, async (t) => {
    const host = await opened(t)
    const machine = await host.opened.machine()
    const { vm, epoch } = machine
    await host.start(machine)
    await host.counted(vm, 1)
    await host.opened.crashGuest(vm)
    await host.opened.until(() => host.events.length > 0, 5_000)
    t.like(host.events, [{ kind: 'exited', vm, epoch, why: 'crashed' }])
    t.deepEqual(await host.inspect(), [])
    await host.start(machine)
    neverBack(t, await host.counted(vm, 1))
    await host.kill(vm)
  })

  test(`${name} leaves guests alone when the peer ends, and finds them again`, async (t) => {
    const before = await opened(t)
    const machines = [await before.opened.machine(), await before.opened.machine()]
    const [stays, goes] = machines.map(({ vm }) => vm) as [VmId, VmId]
    for (const machine of machines) await before.start(machine)
    const running = await before.inspect()
    const count = (await before.counted(stays, 1)).at(-1)?.count ?? 0
    await before.opened.end()
    await before.opened.crashGuest(goes)

    const after = new Host(t, await before.opened.reopen())
    const found = await after.inspect()
    t.deepEqual(
      after.events.map(({ vm, why }) => ({ vm, why })),
      [{ vm: goes, why: 'crashed' }],
    )
    t.deepEqual(
      found,
      running.filter(({ vm }) => vm === stays),
    )
    t.deepEqual(before.events, [])
    t.is((await after.counted(stays, count + 2)).filter(({ kind }) => kind === 'boot').length, 1)
    const again = await after.outcome((it, done: Done<Machine>) =>
      it.start(machines[0] as MachineConfig, done),
    )
    t.like(again, { ok: false, failure: { code: 'ILLEGAL_STATE' } })
    await after.powerOff(stays)
    t.is(after.events.at(-1)?.why, 'shutdown')
    t.deepEqual(await after.inspect(), [])
    t.is(after.events.length, 2, 'an end is told once')
  })
}
