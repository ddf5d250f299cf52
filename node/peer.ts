/**
 * `godwit up`: one peer in the foreground, from its configuration to its last breath. Start: the peer, then its faces.
 * SIGTERM or SIGINT drains in the opposite order: no longer ready, no new commands, the peer, then what is still open.
 * Guests go on: they are their keepers', not ours.
 */
import { flushCompileCache } from 'node:module'
import { type Failure, failureOf } from '../protocols/errors.ts'
import { failed, ok, type Outcome } from '../protocols/outcome.ts'
import type { Config } from './config.ts'
import { keepNames } from './control/names-file.ts'
import type { Peer } from './control/peer.ts'
import { type ControlServer, serveControl } from './control/server.ts'
import { VERSION } from './version.ts'
import type { Log } from './log.ts'
import type { StatusServer } from './status/server.ts'
import type { StatusView } from './views.ts'

export type StartPeer = (config: Config, log: Log) => Promise<Peer>

/** Well under systemd's 90 s; a store that cannot be synced in this time will not be. */
const DRAIN_MS_MAX = 20_000
/** From leaving the mesh to the end: the answer to `godwit leave` is on its way. */
const LEFT_MS = 500

/**
 * Runs until it is told to stop.
 *
 * @param stopped Ends with the name of what asked for the end, a signal mostly.
 * @returns ok after a drain in order; TIMEOUT when the bound was reached; the failure when it never came up.
 */
export async function up(
  config: Config,
  log: Log,
  start: StartPeer,
  stopped: Promise<string>,
): Promise<Outcome<void>> {
  const opened: Opened = {}
  let asked: string | undefined
  void stopped.then((why) => (asked = why))
  try {
    opened.peer = await start(config, log)
    opened.control = await serveControl({
      socket: config.socket,
      peer: opened.peer,
      name: await nameOf(opened.peer, config.name),
      version: VERSION,
      log,
    })
    if (config.http.listen !== 'off' && asked === undefined) {
      // Loaded only here: a peer without it saves the memory.
      const { serveStatus } = await import('./status/server.ts')
      opened.status = await serveStatus({ address: config.http.listen, peer: opened.peer, log })
    }
  } catch (error) {
    const failure = failureOf(error)
    await close(opened, log)
    return failed(explained(failure))
  }
  const names = keepNames(opened.peer, config.dataDir)
  log.info(
    {
      version: VERSION,
      socket: config.socket,
      http: opened.status?.address ?? 'off',
      dataDir: config.dataDir,
    },
    'ready',
  )
  // A peer that is killed writes nothing at its end, and would start slowly the next time.
  flushCompileCache()
  const { gone } = opened.peer
  // Who asked it to leave is still answered.
  const left = gone?.then((said) => new Promise<string>((resolve) => setTimeout(resolve, LEFT_MS, said)))
  const why = await (left === undefined ? stopped : Promise.race([stopped, left]))
  log.info({ why }, 'stopping')
  names.stop()
  return close(opened, log)
}

/** As the mesh knows it: the data folder's word, not the configuration's. */
const nameOf = (peer: Peer, otherwise: string): Promise<string> =>
  new Promise((resolve) => {
    peer.ask('status', {}, (outcome) => resolve(outcome.ok ? (outcome.value as StatusView).peer : otherwise))
  })

type Opened = { peer?: Peer; control?: ControlServer; status?: StatusServer }

async function close({ peer, control, status }: Opened, log: Log): Promise<Outcome<void>> {
  const drained = (async () => {
    status?.drain()
    control?.drain()
    if (peer !== undefined) await new Promise<void>((resolve) => peer.stop(() => resolve()))
    await Promise.all([status?.close(), control?.close()])
    return ok(undefined)
  })()
  let timer: NodeJS.Timeout | undefined
  const bound = new Promise<Outcome<void>>((resolve) => {
    timer = setTimeout(
      () => resolve(failed({ code: 'TIMEOUT', what: 'the drain', afterMs: DRAIN_MS_MAX })),
      DRAIN_MS_MAX,
    )
  })
  const outcome = await Promise.race([drained, bound])
  clearTimeout(timer)
  if (outcome.ok) log.info({}, 'stopped')
  return outcome
}

/** What went wrong before the peer was up is the configuration's or the machine's, whoever noticed it. */
function explained(failure: Failure): Failure {
  if (failure.code !== 'IO' || !/EADDRINUSE/.test(failure.why)) return failure
  return { code: 'ADDRESS_IN_USE', address: failure.path }
}
