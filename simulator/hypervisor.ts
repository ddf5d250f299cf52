/**
 * The hypervisor of a simulated host. Its guests count: every COUNT_MS one more, on their disk before anybody reads it
 * from their serial port. They outlive the peer, as under a keeper, and end with the host's power. Counts are worked
 * out when somebody looks, so a guest that only runs costs no event.
 */
import type { Hypervisor, Machine, MachineConfig, MachineEvent, MachineUsage } from '../node/hypervisor.ts'
import { compareEpochs, printEpoch, type Epoch } from '../protocols/epoch.ts'
import { GodwitError, failureOf } from '../protocols/errors.ts'
import type { VmId } from '../protocols/ids.ts'
import { failed, ok, type Done, type Outcome } from '../protocols/outcome.ts'
import type { SimDisks } from './disks.ts'
import { counterContent, COUNTER_CHUNK, countOf, serialLines, type Session } from './guest.ts'
import type { Random } from './random.ts'
import type { World } from './world.ts'

export const COUNT_MS = 100
/** Sessions whose lines a serial log still has; the port keeps 64 KiB. */
const SESSIONS_MAX = 16
/** Longest list of lines that fits 64 KiB, at 32 bytes a line. */
const LINES_MAX = 2_048

type Ms = { readonly min: number; readonly max: number }

export type SimTimes = {
  /** From the call to a process, which counts as running. At most what `inspect` takes, so that it misses none. */
  readonly spawnMs: Ms
  /** From the process to the first count. */
  readonly bootMs: Ms
  readonly powerOffMs: Ms
  readonly killMs: Ms
  readonly inspectMs: Ms
}

const TIMES: SimTimes = {
  spawnMs: { min: 5, max: 50 },
  bootMs: { min: 200, max: 1_500 },
  powerOffMs: { min: 100, max: 2_000 },
  killMs: { min: 1, max: 40 },
  inspectMs: { min: 50, max: 200 },
}

type Guest = {
  readonly machine: MachineConfig
  readonly pid: number
  state: 'spawning' | 'running'
  /** When it begins to count, once it runs. */
  bootedMs: number
  /** Count on its disk when it booted. */
  base: number
  hangs: boolean
  /** Life of the peer that started it or has found it; another is told of its end when it inspects. */
  knownTo: number
  readonly onEnd: (() => void)[]
}

/** What outlives the peer. */
type Host = {
  readonly guests: Map<VmId, Guest>
  readonly logs: Map<VmId, Session[]>
  readonly epochs: Map<VmId, Epoch>
  /** Ends that no life of the peer has been told of. */
  readonly untold: MachineEvent[]
  /** The newest life of the peer, and what it hears, while it lives. */
  life: number
  hear: ((event: MachineEvent) => void) | undefined
  pids: number
}

const newHost = (): Host => ({
  guests: new Map(),
  logs: new Map(),
  epochs: new Map(),
  untold: [],
  life: 0,
  hear: undefined,
  pids: 1_000,
})

export type RunningGuest = {
  readonly host: string
  readonly vm: VmId
  readonly epoch: Epoch
  readonly count: number
}

export class SimHypervisor implements Hypervisor {
  readonly driver = 'sim'
  /** While set, every start fails with HYPERVISOR and this. */
  refuse: string | undefined
  readonly #world: World
  readonly #name: string
  readonly #disks: SimDisks
  readonly #times: SimTimes
  readonly #random: Random
  readonly #host: Host
  readonly #life: number
  readonly #handlers: ((event: MachineEvent) => void)[] = []
  #dead = false

  constructor(
    world: World,
    name: string,
    disks: SimDisks,
    options: { readonly times?: Partial<SimTimes>; readonly found?: SimHypervisor } = {},
  ) {
    this.#world = world
    this.#name = name
    this.#disks = disks
    this.#times = { ...TIMES, ...options.times }
    this.#host = options.found?.host ?? newHost()
    this.#life = ++this.#host.life
    this.#host.hear = (event) => this.#handlers.forEach((handler) => handler(event))
    this.#random = world.random(`hypervisor ${name} ${this.#life}`)
  }

  get host(): Host {
    return this.#host
  }

  inspect(done: Done<Machine[]>): void {
    this.#later(this.#times.inspectMs, done, () => {
      for (const event of this.#host.untold.splice(0)) this.#host.hear?.(event)
      for (const guest of this.#host.guests.values()) guest.knownTo = this.#life
      return [...this.#host.guests.values()].map(describe).sort((a, b) => (a.vm < b.vm ? -1 : 1))
    })
  }

  start(machine: MachineConfig, done: Done<Machine>): void {
    const { vm, epoch, name } = machine
    const newest = this.#host.epochs.get(vm)
    if (this.#host.guests.has(vm)) return this.#fail(done, illegal(name, 'started'))
    if (newest !== undefined && compareEpochs(newest, epoch) > 0) {
      const terms = { expected: printEpoch(newest), found: printEpoch(epoch) }
      return this.#fail(done, new GodwitError({ code: 'STALE', what: `the epoch of ${name}`, ...terms }))
    }
    if (this.refuse !== undefined)
      return this.#fail(done, new GodwitError({ code: 'HYPERVISOR', vm: name, why: this.refuse }))
    const guest: Guest = {
      machine,
      pid: ++this.#host.pids,
      state: 'spawning',
      bootedMs: Infinity,
      base: 0,
      hangs: false,
      knownTo: this.#life,
      onEnd: [],
    }
    this.#host.guests.set(vm, guest)
    this.#host.epochs.set(vm, epoch)
    this.#disks.hold(vm)
    // The keeper goes on whatever becomes of the peer; only the answer is the peer's.
    this.#world.after(this.#ms(this.#times.spawnMs), () => {
      if (this.#host.guests.get(vm) !== guest) return this.#fail(done, gone(name))
      this.#boot(guest)
      if (!this.#dead) done(ok(describe(guest)))
    })
  }

  #boot(guest: Guest): void {
    const { vm, epoch } = guest.machine
    guest.state = 'running'
    this.#world.changes++
    guest.bootedMs = this.#world.nowMs + this.#ms(this.#times.bootMs)
    guest.base = countOf(this.#disks.readChunk(vm, COUNTER_CHUNK))
    const sessions = this.#host.logs.get(vm) ?? []
    sessions.push({ from: guest.base, to: guest.base, off: false })
    this.#host.logs.set(vm, sessions.slice(-SESSIONS_MAX))
    this.#world.say(`${this.#name}: ${vm} runs under ${printEpoch(epoch)}, count=${guest.base}`)
  }

  powerOff(vm: VmId, graceMs: number, done: Done<void>): void {
    const guest = this.#host.guests.get(vm)
    if (guest === undefined) return this.#later({ min: 0, max: 0 }, done, () => undefined)
    let answered = false
    const answer = (outcome: Outcome<void>): void => {
      if (answered || this.#dead) return
      answered = true
      done(outcome)
    }
    const what = `the power-off of ${guest.machine.name}`
    this.#world.after(graceMs, () => answer(failed({ code: 'TIMEOUT', what, afterMs: graceMs })))
    guest.onEnd.push(() => answer(ok(undefined)))
    if (guest.hangs) return
    // A button that is pressed while it boots is pressed again.
    const boots = guest.state === 'spawning' ? this.#times.bootMs.max : guest.bootedMs - this.#world.nowMs
    this.#world.after(Math.max(0, boots) + this.#ms(this.#times.powerOffMs), () => {
      if (this.#host.guests.get(vm) === guest && !guest.hangs) this.#end(guest, 'shutdown')
    })
  }

  kill(vm: VmId, done: Done<void>): void {
    const guest = this.#host.guests.get(vm)
    if (guest === undefined) return this.#later({ min: 0, max: 0 }, done, () => undefined)
    this.#later(this.#times.killMs, done, () => {
      if (this.#host.guests.get(vm) === guest) this.#end(guest, 'killed')
    })
  }

  onEvent(handler: (event: MachineEvent) => void): void {
    this.#handlers.push(handler)
  }

  serialLog(vm: VmId, lines: number, done: Done<string[]>): void {
    this.#later({ min: 1, max: 2 }, done, () => this.#lines(vm, Math.min(lines, LINES_MAX)))
  }

  usage(done: Done<MachineUsage[]>): void {
    this.#later({ min: 1, max: 2 }, done, () =>
      [...this.#host.guests.values()].map((guest) => {
        const counts = this.#count(guest) - guest.base
        return {
          vm: guest.machine.vm,
          cpuSeconds: (counts * COUNT_MS) / 20_000,
          memoryBytes: guest.machine.spec.memoryMiB * 1024 ** 2,
          diskReadBytes: 512,
          diskWrittenBytes: counts * 512,
        }
      }),
    )
  }

  forget(vm: VmId, done: Done<void>): void {
    this.#later({ min: 1, max: 2 }, done, () => {
      const guest = this.#host.guests.get(vm)
      if (guest !== undefined) throw illegal(guest.machine.name, 'forgotten')
      this.#host.logs.delete(vm)
      this.#host.epochs.delete(vm)
    })
  }

  // For checkers and nemeses -------------------------------------------------------------------------------------

  /** The guests whose processes run now, whatever any peer believes. */
  runningGuests(): RunningGuest[] {
    return [...this.#host.guests.values()]
      .filter(({ state }) => state === 'running')
      .map((guest) => {
        const { vm, epoch } = guest.machine
        return { host: this.#name, vm, epoch, count: this.#count(guest) }
      })
  }

  /** The guest's process dies. */
  crashGuest(vm: VmId): void {
    const guest = this.#host.guests.get(vm)
    if (guest !== undefined) this.#end(guest, 'crashed')
  }

  /** The guest answers no power button any more. */
  hangGuest(vm: VmId): void {
    const guest = this.#host.guests.get(vm)
    if (guest !== undefined) guest.hangs = true
  }

  /** The peer's process ends, now. Its guests go on. */
  crash(): void {
    this.#dead = true
    if (this.#host.life === this.#life) this.#host.hear = undefined
  }

  /** The host loses power: peer and guests. */
  powerCut(): void {
    this.crash()
    for (const guest of this.#host.guests.values()) this.#end(guest, 'killed')
  }

  /** The same host in the peer's next life. */
  reopen(disks: SimDisks): SimHypervisor {
    this.crash()
    return new SimHypervisor(this.#world, this.#name, disks, { times: this.#times, found: this })
  }

  #count(guest: Guest): number {
    return guest.base + Math.max(0, Math.floor((this.#world.nowMs - guest.bootedMs) / COUNT_MS))
  }

  #end(guest: Guest, why: MachineEvent['why']): void {
    const { vm, epoch } = guest.machine
    const count = this.#count(guest)
    this.#host.guests.delete(vm)
    this.#world.changes++
    if (guest.state === 'running') {
      const session = this.#host.logs.get(vm)?.at(-1)
      if (session !== undefined) Object.assign(session, { to: count, off: why === 'shutdown' })
      const bytes = this.#disks.chunkLength(vm, COUNTER_CHUNK)
      if (bytes > 0 && count > guest.base)
        this.#disks.writeChunk(vm, COUNTER_CHUNK, counterContent(count, bytes))
    }
    this.#disks.release(vm)
    this.#world.say(`${this.#name}: ${vm} ended (${why}) under ${printEpoch(epoch)}, count=${count}`)
    this.#tell(guest, { kind: 'exited', vm, epoch, why })
    for (const run of guest.onEnd) run()
  }

  /** To the peer's present life if it knows the guest, else to the one that inspects next. */
  #tell(guest: Guest, event: MachineEvent): void {
    if (this.#host.hear !== undefined && guest.knownTo === this.#host.life) this.#host.hear(event)
    else this.#host.untold.push(event)
  }

  #lines(vm: VmId, most: number): string[] {
    const guest = this.#host.guests.get(vm)
    const sessions = this.#host.logs.get(vm) ?? []
    const count = guest?.state === 'running' ? this.#count(guest) : undefined
    return serialLines(sessions, most, {
      count,
      booting: guest !== undefined && guest.bootedMs > this.#world.nowMs,
    })
  }

  #ms({ min, max }: Ms): number {
    return min + this.#random() * (max - min)
  }

  #fail<T>(done: Done<T>, error: GodwitError): void {
    this.#later({ min: 1, max: 2 }, done, () => {
      throw error
    })
  }

  #later<T>(ms: Ms, done: Done<T>, run: () => T): void {
    this.#world.after(this.#ms(ms), () => {
      if (this.#dead) return
      let value: T
      try {
        value = run()
      } catch (error) {
        return done(failed(failureOf(error)))
      }
      done(ok(value))
    })
  }
}

const describe = ({ machine: { vm, epoch }, pid }: Guest): Machine => ({ vm, epoch, state: 'running', pid })

const gone = (vm: string): GodwitError =>
  new GodwitError({ code: 'HYPERVISOR', vm, why: 'it ended while it started' })

const illegal = (vm: string, wanted: string): GodwitError =>
  new GodwitError({ code: 'ILLEGAL_STATE', vm, state: 'running', wanted })
