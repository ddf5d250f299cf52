/** The binding over lives: no crash is taken for a mismatch, and every older folder is. */
import { fc, testProp } from '@fast-check/ava'
import test from 'ava'
import { Binding, type OutsidePort } from '../../../node/binding/binding.ts'
import { BINDING_RAISE_MS } from '../../../protocols/limits.ts'
import { failed, ok } from '../../../protocols/outcome.ts'
import { key } from '../../../storage/keyspace.ts'
import { bindingIn, type Facts, type Position } from '../../../storage/records.ts'
import type { Op } from '../../../storage/store.ts'
import { Life } from '../../../simulator/life.ts'
import { SimStore } from '../../../simulator/store.ts'
import { World } from '../../../simulator/world.ts'

const FACTS: Facts = { machine: 'm', product: '', fileSystem: '', folder: 'inode 1' }
const promise = (n: number): Op => ({ kind: 'put', key: key('promise', `vm-${n}`), value: new Uint8Array() })

/** A folder and what is outside it, over many lives. */
class Machine {
  readonly world: World
  mark: Position | undefined
  full = false
  store: SimStore
  life: Life
  binding: Binding

  constructor(seed = 1) {
    this.world = new World(seed)
    this.store = new SimStore(this.world, 'disk')
    this.life = new Life(this.world)
    this.binding = this.#open()
  }

  #open(): Binding {
    const { life, world } = this
    const outside: OutsidePort = {
      found: this.mark === undefined ? { kind: 'none' } : { kind: 'mark', mark: this.mark },
      facts: FACTS,
      write: (mark, done) => {
        world.after(2, () => {
          if (!life.alive) return
          if (!this.full) this.mark = mark
          const why = 'no such folder'
          done(this.full ? failed({ code: 'IO', path: 'marks', why }) : ok(undefined))
        })
      },
    }
    const ports = { clock: life.clock, dice: world.random('dice'), store: this.store, outside }
    return new Binding(ports)
  }

  /** The next life, on what a power cut leaves. */
  boot(found?: ReadonlyMap<string, Uint8Array>): void {
    this.life.end()
    this.store.crash()
    this.store = found === undefined ? this.store.reopen() : new SimStore(this.world, 'disk', found)
    this.life = new Life(this.world)
    this.binding = this.#open()
  }

  /** What a copy of the folder has now. */
  copy(): Map<string, Uint8Array> {
    return new Map(this.store.whatACrashLeaves().recovered(''))
  }

  run(ms: number): void {
    this.world.run(this.world.nowMs + ms)
  }
}

test('a power cut at any moment of any raise is no mismatch, and the next start goes on', (t) => {
  for (let cutMs = 0; cutMs < 40; cutMs++) {
    const machine = new Machine(cutMs)
    let counter = 0
    for (let life = 0; life < 4; life++) {
      machine.binding.start(() => {})
      // In the middle of the raise of the start, or of the one after a write.
      if (life % 2 === 1) {
        machine.run(50)
        machine.binding.store.write([promise(life)], true, () => {})
        machine.run(BINDING_RAISE_MS)
      }
      machine.run(cutMs / 2)
      machine.boot()
      t.is(machine.binding.mismatch, undefined, `cut after ${cutMs / 2} ms of life ${life}`)
      const now = bindingIn(machine.store)?.counter ?? 0
      t.true(now >= counter)
      counter = now
    }
  }
})

testProp(
  'a folder that lacks what was durable at the last raise is found out',
  [fc.array(fc.nat(3 * BINDING_RAISE_MS), { minLength: 1, maxLength: 6 }), fc.nat(10_000)],
  (t, pauses, seed) => {
    const machine = new Machine(seed)
    machine.binding.start(() => {})
    machine.run(100)
    const copies: Map<string, Uint8Array>[] = []
    for (const [n, pauseMs] of pauses.entries()) {
      copies.push(machine.copy())
      machine.binding.store.write([promise(n)], true, () => {})
      machine.run(pauseMs)
    }
    machine.run(2 * BINDING_RAISE_MS)
    for (const copy of copies) {
      machine.boot(copy)
      t.regex(machine.binding.mismatch ?? '', /it is older than its mark/)
    }
  },
  { numRuns: 40 },
)

test('a copy of a peer that wrote nothing since is what it was until the next start', (t) => {
  const machine = new Machine()
  machine.binding.start(() => {})
  machine.run(10_000)
  const copy = machine.copy()
  machine.boot(copy)
  t.is(machine.binding.mismatch, undefined)
  machine.binding.start(() => {})
  machine.run(100)
  machine.boot(copy)
  t.regex(machine.binding.mismatch ?? '', /older than its mark/)
})

test('an end in order is the last word', (t) => {
  const machine = new Machine()
  machine.binding.start(() => {})
  machine.run(100)
  machine.binding.store.write([promise(1)], true, () => {})
  machine.run(20)
  const copy = machine.copy()
  let ended = false
  machine.binding.stop(() => (ended = true))
  machine.run(100)
  t.true(ended)
  machine.boot(copy)
  t.regex(machine.binding.mismatch ?? '', /older than its mark/)
})

test('without a place for its mark a peer goes on and says so; once there is one it is bound', (t) => {
  const machine = new Machine()
  machine.full = true
  for (let life = 0; life < 3; life++) {
    machine.binding.start(() => {})
    machine.run(5_000)
    t.deepEqual(machine.binding.view(), { state: 'unbound', why: 'marks: no such folder' })
    machine.boot()
    t.is(machine.binding.mismatch, undefined)
  }
  machine.binding.start(() => {})
  machine.full = false
  machine.run(5_000)
  t.deepEqual(machine.binding.view(), { state: 'bound', why: '' })
  machine.full = true
  machine.binding.store.write([promise(1)], true, () => {})
  machine.run(5_000)
  t.is(machine.binding.view().state, 'unbound')
  machine.boot()
  t.is(machine.binding.mismatch, undefined, 'it never gets more than a step ahead of its mark')
})

test('a folder that is refused is not written to', (t) => {
  const machine = new Machine()
  machine.binding.start(() => {})
  machine.run(100)
  const copy = machine.copy()
  machine.boot()
  machine.binding.start(() => {})
  machine.run(100)
  machine.boot(copy)
  let code = ''
  machine.binding.store.write(
    [promise(1)],
    true,
    (outcome) => (code = outcome.ok ? 'ok' : outcome.failure.code),
  )
  machine.run(5_000)
  t.is(code, 'DATA_MISMATCH')
  t.deepEqual(machine.copy(), copy)
})
