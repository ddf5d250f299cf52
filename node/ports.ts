/**
 * Opens the real ports of a peer as one value for compose.ts: the only place besides init.ts that names adapters. What
 * was opened is closed in the reverse order.
 */
import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { uptime } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { Clock, Timer } from '../protocols/clock.ts'
import { failureOf, GodwitError } from '../protocols/errors.ts'
import { openDoor } from '../protocols/libp2p/door.ts'
import { newPrivateKey, seedOf } from '../protocols/libp2p/identity.ts'
import { openNetwork } from '../protocols/libp2p/node.ts'
import { failed, ok, type Outcome } from '../protocols/outcome.ts'
import { openBlockLists } from '../storage/files/block-list-store.ts'
import { blockWork } from '../storage/files/block-work.ts'
import { PieceHashes } from '../migration/gateway/piece-hashes.ts'
import { openGateway } from '../migration/gateway/gateway.ts'
import { openBases } from '../storage/files/bases.ts'
import { openChunkStore } from '../storage/files/chunk-store.ts'
import { readFrameKeys } from '../storage/files/frame-keys.ts'
import { openManifestStore } from '../storage/files/manifest-store.ts'
import { openJournal } from '../storage/hypercore/journal.ts'
import { key } from '../storage/keyspace.ts'
import type { LevelStore } from '../storage/level/store.ts'
import { bindingIn, type Identity, knownPeer, leftMesh } from '../storage/records.ts'
import { judge } from './binding/judge.ts'
import { type MutePorts, mutePorts } from './binding/mute.ts'
import { openOutside } from './binding/outside.ts'
import type { Config } from './config.ts'
import type { Ports } from './context.ts'
import { nextBoot, openFolder, privateKeyOf } from './data-folder.ts'
import { dice } from './dice.ts'
import type { Door } from './door.ts'
import type { Vitals } from './figures.ts'
import { imageFiles } from './image-file-port.ts'
import { secrets } from './init.ts'
import type { Log } from './log.ts'
import { openDisks } from './qemu/disks.ts'
import { qemuImageReader } from './qemu/images.ts'
import { openHypervisor } from './qemu/machine.ts'
import { snapshotFiles } from './snapshot-files.ts'
import { procFacts } from './telemetry/proc.ts'

export type OpenPorts = {
  readonly ports: Ports
  readonly identity: Identity
  readonly close: () => Promise<void>
}

export async function openPorts(config: Config, log: Log): Promise<Outcome<OpenPorts>> {
  const opened = await openFolder(config.dataDir)
  if (!opened.ok) return opened
  const { store, identity } = opened.value
  const closers: (() => Promise<void>)[] = [() => store.close()]
  const close = async (): Promise<void> => {
    for (const each of closers.splice(0).toReversed()) await each()
  }
  try {
    if (identity === undefined) throw new GodwitError({ code: 'DATA_MISSING', folder: config.dataDir })
    const left = leftMesh(store)
    if (left !== undefined) throw new GodwitError({ code: 'DATA_LEFT', folder: config.dataDir, mesh: left })
    return ok({ ports: await openAll(config, log, store, identity, closers), identity, close })
  } catch (error) {
    await close()
    return failed(failureOf(error))
  }
}

async function openAll(
  config: Config,
  log: Log,
  store: LevelStore,
  identity: Identity,
  closers: (() => Promise<void>)[],
): Promise<Ports> {
  const folder = (name: string): string => join(config.dataDir, name)
  const privateKey = privateKeyOf(config.dataDir, newPrivateKey)
  const keys = valueOf(await readFrameKeys(config.store.keyFiles))
  const chunks = valueOf(await openChunkStore(folder('chunks'), { keys }))
  closers.push(() => chunks.close())
  const manifests = valueOf(await openManifestStore(folder('manifests')))
  const lists = valueOf(await openBlockLists(folder('manifests')))
  const boot = valueOf(await nextBoot(store))
  const journal = openJournal({ folder: folder('journal'), seed: seedOf(privateKey), boot })
  closers.push(() => journal.close())
  const note = (text: string): void =>
    journal.append({ atMs: Date.now(), kind: 'host', subject: identity.peerName, text })
  // What a crash left there is of no use to anybody.
  await rm(folder('scratch'), { recursive: true, force: true })
  await mkdir(folder('scratch'), { recursive: true })
  const reader = qemuImageReader(folder('scratch'))
  const stores = { chunks, manifests, level: config.store.level }
  const pieces = await PieceHashes.open(folder('gateway/published'), manifests.list())
  const isPublisher = config.torrent.listen !== 'off'
  const images = imageFiles(reader, stores, lists, isPublisher ? pieces : undefined)
  const gateway = await openGateway(folder('gateway'), {
    chunks,
    manifests,
    pieces,
    importFile: (...file) => images.import(...file),
  })
  closers.push(() => gateway.close())
  const hypervisor = await openHypervisor({ folder: folder('machines'), driver: config.driver, note })
  closers.push(() => hypervisor.close())
  const disks = await openDisks({ folder: folder('disks'), ...stores })
  const known = store.recovered(key('peer')).map(([, value]) => knownPeer.decode(value))
  const clock = systemClock(log)
  const outside = openOutside(config, identity)
  const network = async (): Promise<MutePorts> => {
    const opened = await openNetwork({
      privateKey,
      listen: config.listen,
      bulkListen: config.bulkListen.filter((address) => address !== 'off'),
      announce: config.announce,
      meshId: identity.mesh,
      mdns: config.mdns,
      peers: new Map(known.map(({ id, addresses }) => [id, addresses])),
      log: (text: string) => log.debug({}, text),
    })
    closers.push(() => opened.close())
    const { transport, broadcast, directory } = opened
    return { transport, broadcast, directory, door: doorOf(config, privateKey, log, closers) }
  }
  // Whoever runs as this peer elsewhere is not even to be disturbed.
  const isHeld = judge(bindingIn(store), outside.found, outside.facts).kind === 'mismatch'
  return {
    ...(isHeld ? mutePorts(identity.peer, clock) : await network()),
    clock,
    outside,
    dice,
    boot: readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim(),
    store,
    chunks,
    manifests,
    blocks: { lists, work: blockWork },
    bases: openBases(folder(join('disks', 'bases')), manifests),
    journal,
    hypervisor,
    disks,
    snapshots: snapshotFiles(),
    images,
    gateway,
    host: procFacts({ folder: config.dataDir }),
    vitals: vitalsOf(),
    secrets,
  }
}

/** Event-loop delays since the last reading. */
function vitalsOf(): () => Vitals {
  const delays = monitorEventLoopDelay({ resolution: 20 })
  delays.enable()
  const startSeconds = Date.now() / 1_000 - process.uptime()
  return () => {
    const seconds = (nanoseconds: number): number => (Number.isFinite(nanoseconds) ? nanoseconds / 1e9 : 0)
    const loopDelaySeconds = {
      mean: seconds(delays.mean),
      p99: seconds(delays.percentile(99)),
      max: seconds(delays.max),
    }
    delays.reset()
    const { user, system } = process.cpuUsage()
    return {
      residentBytes: process.memoryUsage.rss(),
      cpuSeconds: (user + system) / 1e6,
      startSeconds,
      loopDelaySeconds,
    }
  }
}

/** Boot time, because it counts suspend; Node's own clocks do not. */
function systemClock(log: Log): Clock {
  // os.uptime() has hundredths; performance.now() fills in between, and never runs ahead for longer than a timer does.
  let base = uptime() * 1_000 - performance.now()
  let last = 0
  return {
    nowMs() {
      const booted = uptime() * 1_000
      if (Math.abs(booted - (base + performance.now())) > 1_000) {
        log.warn({ byMs: Math.round(booted - base - performance.now()) }, 'this machine slept')
        base = booted - performance.now()
      }
      last = Math.max(last, base + performance.now())
      return last
    },
    wallMs: () => Date.now(),
    after(delayMs, run) {
      if (delayMs <= 0) return nextTurn(run)
      const timer = setTimeout(run, Math.min(delayMs, 2 ** 31 - 1))
      return { cancel: () => clearTimeout(timer) }
    },
  }
}

/** A timer of 0 ms takes one at least. */
function nextTurn(run: () => void): Timer {
  const immediate = setImmediate(run)
  return { cancel: () => clearImmediate(immediate) }
}

/** The door of an announced address is one port higher, as it is where it listens by default. */
const announcedDoor = (config: Config): string[] =>
  config.announce.map((address) =>
    address.replace(/\/tcp\/(\d+)/, (_, port: string) => `/tcp/${Number(port) + 1}`),
  )

function doorOf(config: Config, privateKey: Uint8Array, log: Log, closers: (() => Promise<void>)[]): Door {
  type Opened = Awaited<ReturnType<typeof openDoor>>
  let door: Promise<Opened> | undefined
  let addresses: string[] = []
  const close = async (): Promise<void> => {
    const closing = door
    door = undefined
    await closing?.then((each) => each.close()).catch(() => {})
  }
  closers.push(close)
  return {
    open(handler, done) {
      door ??= openDoor({
        privateKey,
        listen: config.joinListen,
        announce: announcedDoor(config),
        handler: (from, hello, remoteAddress, reply) => {
          log.info(
            { peer: from, site: hello.site, name: hello.name, from: remoteAddress },
            'a peer asks to join',
          )
          handler(from, hello, reply)
        },
      })
      door.then(
        (opened) => {
          addresses = opened.addresses()
          done(ok(undefined))
        },
        (error: unknown) => {
          door = undefined
          done(failed(failureOf(error)))
        },
      )
    },
    close: () => void close(),
    addresses: () => addresses,
  }
}

function valueOf<T>(outcome: Outcome<T>): T {
  if (outcome.ok) return outcome.value
  throw new GodwitError(outcome.failure)
}
