/** From a configuration to a running peer, as main.ts serves it: real ports, composed, started. */
import { describeFailure, GodwitError } from '../protocols/errors.ts'
import { openPorts } from './ports.ts'
import { wallTimeIn } from './wall-time.ts'
import { composeNode } from './compose.ts'
import type { Config } from './config.ts'
import type { Peer } from './control/peer.ts'
import { parseQuota, type Quota } from './keeping/room.ts'
import type { Log } from './log.ts'
import { describeDamage } from './opening.ts'
import { VERSION } from './version.ts'

const GIB = 1024 ** 3

/** @throws GodwitError with the reason when the data folder or a port cannot be used. */
export async function startPeer(config: Config, log: Log): Promise<Peer> {
  const opened = await openPorts(config, log)
  if (!opened.ok) throw new GodwitError(opened.failure)
  const { ports, identity, close } = opened.value
  const gone = Promise.withResolvers<string>()
  const node = composeNode(
    {
      identity,
      version: VERSION,
      labels: config.labels,
      raft: { noVote: mayNotVote(config), uplink: config.raft.uplink },
      limits: { rules: config.transfer.limits, wallTime: wallTimeIn(config.transfer.timeZone) },
      capacity: {
        cpus: config.capacity.cpus,
        memoryMiB: config.capacity.memoryMiB,
        diskBytes: config.capacity.diskGiB * GIB,
      },
      torrentListen: config.torrent.listen === 'off' ? '' : config.torrent.listen,
      quota: quotaOf(config),
      http: config.http.listen === 'off' ? '' : `http://${config.http.listen}`,
    },
    ports,
    {
      turned: (group, unwritable) => {
        if (unwritable === undefined)
          return log.info({ group }, `the log of group ${group} can be written again`)
        const why = describeFailure(unwritable)
        log.warn(
          { group },
          `the log of group ${group} cannot be written, and is tried again and again: ${why}`,
        )
      },
      removed: (text) => log.warn({}, text),
      left: () => gone.resolve(`it has left mesh ${identity.mesh}`),
      halted: (text) => log.warn({}, text),
    },
  )
  const { mesh, site } = node.context.agreement
  for (const { name, opened: found } of [mesh, site]) {
    const damage = describeDamage(name, found)
    if (damage !== undefined) log.warn({ group: name }, damage)
  }
  const { binding } = node.context
  if (binding.mismatch !== undefined)
    log.error({ folder: config.dataDir }, describeFailure({ code: 'DATA_MISMATCH', why: binding.mismatch }))
  await new Promise<void>((resolve) => node.start(resolve))
  const { state, why } = binding.view()
  if (state === 'unbound')
    log.warn({ markDir: config.markDir }, `an old copy of the data folder would not be found out: ${why}`)
  else if (binding.isFirst)
    log.info({ folder: config.dataDir, markDir: config.markDir }, 'the data folder is bound to this machine')
  return {
    ask: (method, params, done) => node.ask(method, params, done),
    gone: gone.promise,
    ready: () => node.ready(),
    unready: () => node.unready(),
    metrics: (done) => node.metrics(done),
    stop: (done) => {
      node.stop(() => void close().then(done, done))
    },
  }
}

function quotaOf({ store }: Config): Quota | undefined {
  const quota = parseQuota(store.quota)
  return quota === 'off' ? undefined : quota
}

/** By its own key, or by the label that other tools set on hosts: `no-vote`, whatever it says but `false`. */
const mayNotVote = ({ raft, labels }: Config): boolean =>
  !raft.vote || (labels['no-vote'] ?? 'false') !== 'false'
