/**
 * `npm run lab:systemd`: the peer under its own unit (node/godwit.service) and a real systemd, installed as the README
 * says, with a real guest. A restart, a crash, and a stop of the service must leave the guest alone, and each next life
 * must find it: the same process of QEMU, the same boot, a counter that goes on. Exit 0: so it was. 1: it was not.
 * 3: this host lacks what it takes, which is named.
 */
import assert from 'node:assert/strict'
import { copyFileSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { StatusView, VmView } from '../../node/views.ts'
import { buildGuestImage, heartbeats, type Heartbeat } from '../guest/guest.ts'
import { missingForSystemd, openSystemdMachine, type SystemdMachine } from './systemd-machine.ts'

const MIB = 1024 ** 2
const CANNOT = 3
/** Nothing here takes longer but for a machine that stands still. */
const STEP_MS = 40_000
const POLL_MS = 50
/** What a guest must go on by to be believed alive; it counts ten times a second. */
const COUNTS = 5
const PROJECT = join(import.meta.dirname, '../..')
/** The README's drop-in: Node 24 beside Godwit, before the system's. */
const DROP_IN =
  '[Service]\nEnvironment=PATH=/opt/godwit/node_modules/.bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n'
const CONFIG = [
  'name: quay',
  'listen: [/ip4/127.0.0.1/tcp/4710]',
  'joinListen: [/ip4/127.0.0.1/tcp/4711]',
  'mdns: false',
  'driver: tcg',
  'capacity: { cpus: 2, memoryMiB: 256, diskGiB: 4 }',
  '',
].join('\n')

type Life = { readonly peer: number; readonly restarts: number }

const started = performance.now()
const say = (text: string): void =>
  void process.stdout.write(`${((performance.now() - started) / 1_000).toFixed(1).padStart(5)} s  ${text}\n`)

class Host {
  readonly #machine: SystemdMachine
  #vm = ''

  constructor(machine: SystemdMachine) {
    this.#machine = machine
  }

  /** As the README installs it. */
  install(): void {
    const { root } = this.#machine
    assert(readFileSync(join(PROJECT, 'README.md'), 'utf8').includes(`'${DROP_IN.replaceAll('\n', '\\n')}'`))
    symlinkSync('/opt/godwit/node/godwit.js', join(root, 'usr/local/bin/godwit'))
    copyFileSync(join(PROJECT, 'node/godwit.service'), join(root, 'etc/systemd/system/godwit.service'))
    mkdirSync(join(root, 'etc/systemd/system/godwit.service.d'))
    writeFileSync(join(root, 'etc/systemd/system/godwit.service.d/node.conf'), DROP_IN)
    mkdirSync(join(root, 'etc/godwit'))
    writeFileSync(join(root, 'etc/godwit/config.yaml'), CONFIG)
  }

  async do(...command: string[]): Promise<string> {
    const { code, out, err } = await this.#machine.run(command)
    if (code !== 0) throw new Error(`${command.join(' ')}: exit ${code}: ${err.trim()}`)
    return out
  }

  async item<T>(...command: string[]): Promise<T> {
    return (JSON.parse(await this.do('godwit', ...command, '-o', 'json')) as { item: T }).item
  }

  async ready(): Promise<void> {
    await until('the peer to be ready', async () => {
      const { code, out } = await this.#machine.run(['godwit', 'status', '-o', 'json'])
      return code === 0 && (JSON.parse(out) as { item: StatusView }).item.ready
    })
  }

  async createGuest(): Promise<void> {
    await buildGuestImage(join(this.#machine.root, 'root/guest.raw'), {
      bytes: 64 * MIB,
      randomBytes: 2 * MIB,
      seed: 1,
    })
    await this.do('godwit', 'image', 'import', 'guest', '/root/guest.raw')
    const created = ['vm', 'create', 'counter', '--image', 'guest', '--memory', '32MiB', '--cpus', '1']
    this.#vm = (await this.item<{ id: string }>(...created)).id
    await this.counts()
  }

  async state(): Promise<string> {
    const { items } = JSON.parse(await this.do('godwit', 'vm', 'list', '-o', 'json')) as { items: VmView[] }
    return items.find(({ id }) => id === this.#vm)?.state ?? 'gone'
  }

  /** What the guest has said from its first boot on. */
  heard(): Heartbeat[] {
    const text = this.#file(`var/lib/godwit/machines/${this.#vm}/serial.log`)
    return heartbeats(text.split('\n').slice(0, -1))
  }

  /** Waits until the guest has counted on from where it is now. */
  async counts(): Promise<number> {
    const newest = (): number => this.heard().at(-1)?.count ?? 0
    const from = newest()
    await until('the guest to count', () => newest() >= from + COUNTS)
    return newest()
  }

  /** Ids inside the machine of the guest's processes, and the control group each is in. */
  guest(): { pids: number[]; groups: string[] } {
    const [keeper, , guest] = this.#file(`var/lib/godwit/machines/${this.#vm}/process`).split(' ').map(Number)
    const pids = [keeper ?? 0, guest ?? 0]
    return { pids, groups: pids.map((pid) => this.groupOf(pid)) }
  }

  /** Empty when there is no such process. */
  groupOf(pid: number): string {
    const line = this.#file(`proc/${pid}/cgroup`)
      .split('\n')
      .find((each) => each.startsWith('0::'))
    // Seen from outside, a path begins with the machine's own group.
    return line === undefined ? '' : line.replace(/^0::(.*\/godwit-lab-\d+)?/, '')
  }

  /** The groups of guests below the unit's own. */
  guestGroups(): string[] {
    try {
      return readdirSync(join(this.#machine.root, 'sys/fs/cgroup/system.slice/godwit.service'), {
        withFileTypes: true,
      }).flatMap((each) => (each.isDirectory() ? [each.name] : []))
    } catch {
      return []
    }
  }

  async life(): Promise<Life> {
    const text = await this.do('systemctl', 'show', '-p', 'MainPID', '-p', 'NRestarts', 'godwit')
    const shown = (name: string): number => Number(new RegExp(`^${name}=(\\d+)$`, 'm').exec(text)?.[1] ?? -1)
    return { peer: shown('MainPID'), restarts: shown('NRestarts') }
  }

  async active(): Promise<string> {
    return (await this.#machine.run(['systemctl', 'is-active', 'godwit'])).out.trim()
  }

  async journal(): Promise<string> {
    return (await this.#machine.run(['journalctl', '--no-pager', '-n', '60'])).out
  }

  #file(path: string): string {
    try {
      return readFileSync(join(this.#machine.root, path), 'utf8')
    } catch {
      return ''
    }
  }
}

/** The guest is untouched and known: same processes in the same group, one boot, a counter that goes on. */
async function unharmed(host: Host, before: ReturnType<Host['guest']>, from: number): Promise<number> {
  assert.deepEqual(host.guest(), before, 'keeper and guest are other processes, or elsewhere')
  const count = await host.counts()
  assert(count > from, `the guest counts ${count} after ${from}`)
  assert.equal(host.heard().filter(({ kind }) => kind === 'boot').length, 1, 'the guest booted again')
  return count
}

async function adopted(host: Host, before: ReturnType<Host['guest']>, from: number): Promise<number> {
  await host.ready()
  assert.equal(await host.state(), 'running')
  const count = await unharmed(host, before, from)
  assert.deepEqual(host.guestGroups().length, 1)
  return count
}

async function main(host: Host): Promise<void> {
  host.install()
  await host.do('godwit', 'init', '--site', 'harbour', '--name', 'quay')
  await host.do('systemctl', 'daemon-reload')
  await host.do('systemctl', 'enable', '--now', 'godwit')
  await host.ready()
  const first = await host.life()
  assert.equal(host.groupOf(first.peer), '/system.slice/godwit.service')
  say(`systemctl enable --now godwit: ready, main process ${first.peer}`)

  await host.createGuest()
  const guest = host.guest()
  for (const group of guest.groups) assert.match(group, /^\/system\.slice\/godwit\.service\/godwit-[^/]+$/)
  let count = await unharmed(host, guest, 0)
  say(`guest ${guest.pids[1]} of keeper ${guest.pids[0]} counts ${count}, in ${guest.groups[1]}`)

  await host.do('systemctl', 'restart', 'godwit')
  count = await adopted(host, guest, count)
  const second = await host.life()
  assert.notEqual(second.peer, first.peer)
  say(`systemctl restart: main process ${second.peer}; VM running, guest ${guest.pids[1]} counts ${count}`)

  await host.do('systemctl', 'kill', '--signal', 'KILL', '--kill-whom', 'main', 'godwit')
  await until('systemd to start it again', async () => (await host.life()).restarts === 1)
  count = await adopted(host, guest, count)
  const third = await host.life()
  assert.notEqual(third.peer, second.peer)
  say(`kill -9 of the peer: main process ${third.peer}; VM running, guest ${guest.pids[1]} counts ${count}`)

  await host.do('systemctl', 'stop', 'godwit')
  assert.equal(await host.active(), 'inactive')
  assert.equal(host.groupOf(third.peer), '', 'the peer is still there')
  count = await unharmed(host, guest, count)
  say(`systemctl stop: no peer, guest ${guest.pids[1]} counts ${count}`)

  await host.do('systemctl', 'start', 'godwit')
  count = await adopted(host, guest, count)
  say(`systemctl start: VM running, guest ${guest.pids[1]} counts ${count}`)

  await host.do('godwit', 'vm', 'stop', 'counter')
  assert.equal(await host.state(), 'stopped')
  await until('the guest to be gone', () => guest.pids.every((pid) => host.groupOf(pid) === ''))
  await until('its control group to be gone', () => host.guestGroups().length === 0)
  await host.do('godwit', 'vm', 'start', 'counter')
  await host.counts()
  const boots = host.heard().filter(({ kind }) => kind === 'boot')
  assert.equal(boots.length, 2)
  assert((boots[1]?.count ?? 0) >= count, `the guest goes on from ${boots[1]?.count} after ${count}`)
  assert.equal(host.guestGroups().length, 1)
  say(`vm stop, vm start: the guest goes on from ${boots[1]?.count}, in a group of its own`)
}

async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const end = performance.now() + STEP_MS
  while (!(await holds())) {
    if (performance.now() > end) throw new Error(`waited ${STEP_MS / 1_000} s for ${what}`)
    await sleep(POLL_MS)
  }
}

const missing = missingForSystemd()
if (missing.length > 0) {
  process.stderr.write(`lab:systemd cannot run here; missing: ${missing.join('; ')}\n`)
  process.exit(CANNOT)
}
for (const [signal, code] of [
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)
  process.once(signal, () => process.exit(code))
const machine = await openSystemdMachine()
const host = new Host(machine)
try {
  say(`PID 1 is ${(await host.do('systemctl', '--version')).split('\n')[0]}`)
  await main(host)
  say('every life of the peer found its guest')
} catch (error) {
  process.stderr.write(`${await host.journal()}\nlab:systemd: ${(error as Error).message}\n`)
  process.exitCode = 1
} finally {
  await machine.close()
}
