/**
 * The composition root: `composeNode(config, ports)` wires the cores of one peer to the world. It imports no adapter;
 * production opens real ports (ports.ts), the simulator simulated ones: that is the whole difference.
 *
 * Start and stop are in one visible order: what is on disk, then agreement, then guests, then what others may ask.
 */
import type { Failure } from '../protocols/errors.ts'
import { type Done, failed, ok } from '../protocols/outcome.ts'
import { Admitted } from './admitted.ts'
import { Agreement } from './agreement.ts'
import { Asking } from './asking.ts'
import { Binding } from './binding/binding.ts'
import { Doubt } from './binding/doubt.ts'
import { mutePorts } from './binding/mute.ts'
import { blaming } from './blaming.ts'
import { compareEpochs, type Epoch } from '../protocols/epoch.ts'
import { outranks } from './catalog/generations.ts'
import { homeOf, type MeshCommand, siteNamed } from './catalog/mesh.ts'
import type { Context, NodeConfig, Ports } from './context.ts'
import { Copies } from './copies.ts'
import { Counts, figures } from './figures.ts'
import { Electing, type Knowledge } from './electing.ts'
import { Entrusting } from './entrusting.ts'
import { Following } from './following.ts'
import { checkParams, handlers } from './handlers.ts'
import { Housekeeping } from './housekeeping.ts'
import { Listing } from '../migration/second-level/listing.ts'
import { Jobs } from './jobs.ts'
import { Limiting } from './limiting.ts'
import { Keeping } from './keeping/keeping.ts'
import { render } from './metrics.ts'
import { InHand } from './moving/around.ts'
import { Moves } from './moving/moves.ts'
import { type Neighbour, neighboursOf } from './neighbours.ts'
import { Observation } from './observation.ts'
import { describeDamage, describeHalt } from './opening.ts'
import { Presenting } from './presenting.ts'
import { Publishing } from './publishing.ts'
import { Pulling } from './pulling.ts'
import { Registering } from './registering.ts'
import { readsOnlyWhile } from './refusing.ts'
import { Removals } from './removal.ts'
import { Stating } from './stating.ts'
import { Vms } from './reconcile/vms.ts'
import { mindDoor } from './tokens.ts'

export type Node = {
  /** Begins to take part; `done` once grants are read, guests found and both groups heard from, or after a bound. */
  start(done: () => void): void
  /** Drains in order; guests go on. `done` once nothing of this peer will act any more. */
  stop(done: () => void): void
  /** One of OPERATIONS; params were checked by whoever took them from outside. */
  ask(method: string, params: unknown, done: Done<unknown>): void
  ready(): boolean
  /** For people: why it is not, and will not be by itself. */
  unready(): string | undefined
  /** Prometheus' text. */
  metrics(done: Done<string>): void
  readonly context: Context
}

/** Commands after which others may be admitted, or be elsewhere. */
const NAMES_PEERS: ReadonlySet<MeshCommand['kind']> = new Set([
  'found',
  'admit',
  'peer-update',
  'peer-remove',
])
/** States of membership in which a peer may well answer: a suspect that a group waits for does not. */
const SEEN = new Set(['alive', 'unknown'])
export type NodeEvents = {
  /** This peer has left, and that is on disk: it had better stop. */
  left?(): void
  /** For people: others have removed it. */
  removed?(text: string): void
  /** For people: what this version of godwit cannot do any more. */
  halted?(text: string): void
  /** A group's log cannot be written, or can be again. */
  turned?(group: string, unwritable: Failure | undefined): void
}

/** How often what hangs on the wall clock and on others' news is looked at. */
const MIND_MS = 2_000
/** A peer that finds nobody is ready all the same: being cut off is Tuesday. */
const READY_MS = 5_000
const READY_LOOK_MS = 50

/** @throws GodwitError DATA_CORRUPT when a record on disk, other than of a group's log, is not what was written. */
export function composeNode(config: NodeConfig, given: Ports, events: NodeEvents = {}): Node {
  const { identity } = config
  const { clock } = given
  const binding = new Binding(given)
  const held: Failure | undefined =
    binding.mismatch === undefined ? undefined : { code: 'DATA_MISMATCH', why: binding.mismatch }
  const ports: Ports = {
    ...given,
    store: binding.store,
    ...(held !== undefined && mutePorts(identity.peer, clock)),
  }
  const counts = new Counts()
  const transport = blaming(ports.transport, counts)
  let context: Context
  let ready = false
  let stopped = false
  let looking = false

  /** Agreed state changed: looked at once per turn, however many entries came. */
  const changed = (): void => {
    if (looking || stopped) return
    looking = true
    clock.after(0, () => {
      looking = false
      if (stopped) return
      mindMesh()
      doubt.look()
      if (doubt.unheard() === undefined) context.moves.look()
      context.vms.reconcile()
      presenting.look()
      registering.lookAtMesh()
      registering.look(agreement.site, identity.site)
      for (const group of copies.all()) registering.look(group, siteOf(group.name) ?? '')
    })
  }

  /** What the mesh has agreed on since it was last minded; all of it at the start, and after a snapshot. */
  const news = { mesh: true, peers: true, tokens: true }
  const agreed = (command: MeshCommand | undefined): void => {
    news.mesh = true
    if (command === undefined || NAMES_PEERS.has(command.kind)) news.peers = true
    if (command === undefined || (command.kind === 'token-create' && command.issuer === identity.peer))
      news.tokens = true
  }

  const mindMesh = (): void => {
    if (!news.mesh) return
    const { peers, tokens } = news
    news.mesh = news.peers = news.tokens = false
    if (peers) admitted.look()
    if (peers) mindLimits()
    if (peers) removals.look()
    mindRemoved()
    if (peers) context.observation.members()
    if (tokens) mindDoor(context)
  }

  const removals: Removals = new Removals(identity, { ...ports, transport }, () => ({
    agreement,
    left: () => events.left?.(),
    removed: (text) => events.removed?.(text),
  }))
  const admitted = new Admitted(() => agreement.mesh.state.peers, { ...ports, transport })

  const agreement: Agreement = new Agreement(
    identity,
    { ...ports, transport },
    {
      changed,
      agreed,
      role: () => changed(),
      inSight: (peer) =>
        transport.connected().includes(peer) && SEEN.has(context?.observation.peerState(peer) ?? 'unknown'),
      putAside: (group) => {
        noteDamage(group === agreement.site.name ? agreement.site : agreement.mesh)
        if (group === agreement.site.name) presenting.again()
      },
      halted: (group) => noteHalt(group === agreement.site.name ? agreement.site : agreement.mesh),
      turned: (group, unwritable) => events.turned?.(group, unwritable),
      moved: (group) => following.moved(group),
      followedMs: (group) => following.followed(group).ageMs,
      copyOf: (group) => copies.get(group),
    },
  )
  const following = new Following(
    identity.mesh,
    [agreement.mesh, agreement.site],
    {
      peers: (group) => {
        const { peers } = agreement.mesh.state
        const copy = copies.get(group)
        if (copy === undefined)
          return [...admitted.known()].map((id) => [id, peers[id]?.site === identity.site] as const)
        // Whoever else keeps a copy may have more of a site that is lost.
        const others = new Set(copy.state.copies)
        return [...admitted.known()]
          .filter((id) => others.has(id) || copy.isMember(id) || isOfGroup(group, id))
          .map((id) => [id, true] as const)
      },
      isWide: (group) => group === agreement.mesh.name,
    },
    { clock, transport },
  )
  const noteDamage = ({ name, opened }: Pick<Agreement['mesh'], 'name' | 'opened'>): void => {
    const text = describeDamage(name, opened)
    if (text !== undefined) ports.journal.append({ atMs: clock.wallMs(), kind: 'log', subject: name, text })
  }
  const noteHalt = ({ name, halted }: Pick<Agreement['mesh'], 'name' | 'halted'>): void => {
    if (halted === undefined) return
    const text = describeHalt(name, halted)
    events.halted?.(text)
    ports.journal.append({ atMs: clock.wallMs(), kind: 'log', subject: name, text })
  }
  noteDamage(agreement.mesh)
  noteDamage(agreement.site)
  const copies = new Copies(identity, { ...ports, transport }, () => ({
    own,
    outranks: (group, heard, of) =>
      outranks(agreement.mesh.state.generations?.[siteOf(group) ?? ''], heard, of),
    isOfGroup,
    following,
    opened: (group) => electing.add('site', group),
    dropped: (group) => electing.drop(group),
    putAside: noteDamage,
    halted: noteHalt,
    turned: (group, unwritable) => events.turned?.(group, unwritable),
  }))
  const jobs = new Jobs(clock, identity.peerName, () => {})
  const served = handlers(
    () => context,
    () => ready && removals.failure() === undefined,
  )
  const asking = new Asking(
    transport,
    readsOnlyWhile(served, () => held ?? removals.failure()),
    checkParams,
    (failure) => agreement.explained(failure),
  )
  const near = (peer: string): boolean => agreement.mesh.state.peers[peer]?.site === identity.site
  const { blocks } = ports
  const listing = blocks === undefined ? undefined : new Listing({ ...ports, ...blocks })
  const pulling = new Pulling(
    {
      ...ports,
      transport,
      came: (image) => listing?.came(image),
      room: (image, contentBytes, done) => keeping.roomFor(image, contentBytes, done),
      ...(blocks !== undefined && { blocks: { ...blocks, hurry: (done) => listing?.hurry(done) } }),
      siteOf: (peer) => agreement.mesh.state.peers[peer]?.site,
      neighbours: () => neighboursOf(identity.site, neighbours()),
    },
    () => transport.connected().toSorted((a, b) => Number(near(b)) - Number(near(a))),
    near,
  )
  const keeping = new Keeping({ ...ports, transport }, config.quota, asking, () => {
    return { self: identity.peer, site: identity.site, agreement, jobs, moves, vms }
  })
  const pull = keeping.using(pulling.pull)
  const housekeeping = new Housekeeping(ports, keeping.collecting, pull, counts)
  const publishing = new Publishing(ports, config.torrentListen, (image) => keeping.use(image))
  const limiting = new Limiting(config.limits, (caps) => transport.shape(caps))
  const told = new InHand()
  const doubt: Doubt = new Doubt(ports.store, {
    applied: (group) => agreement[group].appliedIndex,
    read: (group, done) =>
      asking.here('raft.read', { group: agreement[group].name }, (outcome) =>
        done(outcome.ok ? ok((outcome.value as { index: number }).index) : outcome),
      ),
    isCurrent: (vm) => {
      const grant = vms.grantOf(vm)
      const agreed = agreement.site.state.vms[vm]
      if (agreed?.host !== identity.peer) return grant === undefined
      const isSame = grant !== undefined && compareEpochs(agreed.epoch, grant.epoch) === 0
      return isSame && agreed.move === undefined
    },
    moving: () =>
      Object.values(agreement.site.state.vms).flatMap(({ id, host, move }) =>
        host === identity.peer && move !== undefined ? [id] : [],
      ),
    changed,
  })
  const vms: Vms = new Vms(
    {
      self: identity.peer,
      boot: ports.boot,
      agreed: (vm) => agreement.site.state.vms[vm],
      placedHere: () => Object.values(agreement.site.state.vms).filter(({ host }) => host === identity.peer),
      agreedIndex: () => agreement.site.appliedIndex,
      homeElsewhere: (vm) => elsewhere(vm),
      moveEnded: (vm, m) => context.moves.ended(vm, m),
      unmetDependency: (names) =>
        names.find((name) => {
          const vm = Object.values(agreement.site.state.vms).find((each) => each.name === name)
          if (vm === undefined) return false
          if (vm.host === identity.peer) return !context.vms.runs(vm.id)
          return (
            context.observation.sample(vm.host)?.sample.vms.find(({ id }) => id === vm.id)?.state !==
            'running'
          )
        }),
      fetch: (_vm, images, done) =>
        void context.pull(
          images,
          [],
          () => {},
          (outcome) => done(outcome.ok ? ok(undefined) : outcome),
        ),
      unheard: () => binding.mismatch ?? doubt.unheard(),
      doubt: (vm) => doubt.of(vm),
      moveHolds: (vm) => context.moves.holds(vm),
      wantStopped: (vm) =>
        told.once(`stopped ${vm}`, (done) =>
          agreement.proposeSite({ kind: 'vm-want', vm, wanted: 'stopped', kill: false }, done),
        ),
      gone: (vm, epoch) =>
        told.once(`gone ${vm}`, (done) => agreement.proposeSite({ kind: 'vm-gone', vm, epoch }, done)),
      changed: () => {
        context.observation.hurry()
        changed()
      },
    },
    ports,
  )
  const moves = new Moves({
    self: identity.peer,
    site: identity.site,
    clock,
    transport,
    agreement,
    asking,
    vms,
    jobs,
    disks: ports.disks,
    pull,
  })
  const presenting = new Presenting(identity.peer, identity.site, agreement, vms, doubt)
  const registering = new Registering(agreement, ports)
  const stating = new Stating(config, agreement, { ...ports, transport })
  const observation = new Observation(() => context, identity.peer, { ...ports, transport })
  const own = { ...config.raft, power: () => ports.host.power() }
  const peersWhere = (are: (peer: string) => boolean): ReturnType<Knowledge['peersOf']> =>
    Object.values(agreement.mesh.state.peers)
      .filter(({ id }) => are(id))
      .map(({ id, site, draining }) => ({ peer: id, site, draining: draining === true }))
  const sight: Knowledge['sight'] = (peer) => observation.sight(peer)
  const electing = new Electing(
    [
      ['mesh', agreement.mesh],
      ['site', agreement.site],
    ],
    own,
    {
      peersOf: (group) => peersWhere((peer) => isOfGroup(group, peer)),
      isNoneOf: (group, peer) => {
        const { peers, removed = {} } = agreement.mesh.state
        return removed[peer] !== undefined || (peers[peer] !== undefined && !isOfGroup(group, peer))
      },
      sight,
    },
    { clock, transport },
  )
  const entrusting = new Entrusting(
    agreement.site,
    {
      others: () => peersWhere((peer) => !near(peer)),
      sight,
      uplink: config.raft.uplink,
      propose: (command, done) => agreement.proposeSite(command, done),
    },
    { clock, transport },
  )
  context = {
    config,
    ports: { ...ports, transport },
    binding,
    doubt,
    agreement,
    following,
    copies,
    asking,
    vms,
    moves,
    jobs,
    observation,
    keeping,
    pull,
    download: pulling.download,
    publishing,
    counts,
    removals,
    startedMs: clock.nowMs(),
  }

  /** The site that a group is of; undefined for the mesh's, and for one that is not known. */
  function siteOf(group: string): string | undefined {
    if (group === agreement.siteGroup) return identity.site
    return siteNamed(agreement.mesh.state, group.slice('site/'.length))?.id
  }

  /** The mesh's group is everybody's, a site's its peers'. */
  function isOfGroup(group: string, peer: string): boolean {
    if (group === agreement.mesh.name) return true
    const site = siteOf(group)
    return site !== undefined && agreement.mesh.state.peers[peer]?.site === site
  }

  /** Of this site everybody, of others who is connected: a question is no reason to dial over a WAN. */
  function neighbours(): Neighbour[] {
    const connected = new Set(transport.connected())
    return Object.values(agreement.mesh.state.peers).flatMap(({ id, site }) =>
      id !== identity.peer && (connected.has(id) || site === identity.site)
        ? [{ peer: id, site, rttMs: transport.rttMs(id) }]
        : [],
    )
  }

  function elsewhere(vm: string): Epoch | undefined {
    const home = homeOf(agreement.mesh.state, vm)
    return home.site === identity.site || agreement.mesh.state.homes[vm] === undefined
      ? undefined
      : home.epoch
  }

  /** Others of this site that were removed are no hosts any more. What a removed peer holds itself is where it is. */
  function mindRemoved(): void {
    const { peers, removed = {} } = agreement.mesh.state
    if (agreement.site.role !== 'leader') return
    for (const host of Object.keys(agreement.site.state.hosts)) {
      if (removed[host] === undefined || peers[host] !== undefined || host === identity.peer) continue
      told.once(`left ${host}`, (done) => agreement.proposeSite({ kind: 'host-leave', host }, done))
    }
  }

  function mindLimits(): void {
    const { peers, sites } = agreement.mesh.state
    const siteName = (site: string): string => sites[site]?.name ?? ''
    const others = Object.values(peers).filter(({ id }) => id !== identity.peer)
    const places = others.map(({ id, name, site }) => [id, { site: siteName(site), name }] as const)
    limiting.look(clock.wallMs(), siteName(identity.site), new Map(places))
  }

  function mind(): void {
    if (stopped) return
    if (removals.failure() === undefined) stating.look()
    mindLimits()
    // Tokens expire without an entry.
    mindDoor(context)
    changed()
    clock.after(MIND_MS, mind)
  }

  const node: Node = {
    context,
    ready: () => ready && !stopped && removals.failure() === undefined,
    unready: () => removals.text(),
    metrics: (done) => render(figures(context, node.ready(), ports.vitals()), done),
    ask: (method, params, done) => {
      if (stopped) return done(failed({ code: 'STOPPING', peer: identity.peerName }))
      asking.here(method, params, done)
    },

    start(done) {
      if (held !== undefined) {
        agreement.load()
        return vms.find(done)
      }
      binding.start(() => (stopped ? done() : begin(done)))
    },

    stop(done) {
      ready = false
      const end = (): void => {
        stopped = true
        admitted.stop()
        ports.door.close()
        moves.stop()
        vms.stop()
        observation.stop()
        housekeeping.stop()
        listing?.stop()
        publishing.stop()
        pulling.stop()
        following.stop()
        electing.stop()
        entrusting.stop()
        copies.stop()
        agreement.stop()
        // What was handed to the store before this is on disk when this is.
        binding.stop(() => ports.store.write([], true, () => done()))
      }
      // While others take over what this peer leads and votes in, it goes on.
      if (held === undefined) electing.handOver(end)
      else end()
    },
  }
  return node

  function begin(done: () => void): void {
    admitted.look()
    agreement.start()
    following.start()
    copies.start()
    vms.start(() => {
      beginMoves()
      observation.start()
      electing.start()
      entrusting.start()
      housekeeping.start()
      listing?.start()
      publishing.start()
      mind()
      const untilMs = clock.nowMs() + READY_MS
      const look = (): void => {
        if (stopped) return
        const heard = agreement.mesh.leader !== '' && agreement.site.leader !== ''
        if (!heard && clock.nowMs() < untilMs) return void clock.after(READY_LOOK_MS, look)
        ready = true
        done()
      }
      look()
    })
  }

  /** What a crash left of moves is taken up from the logs, which have to be believed first. */
  function beginMoves(): void {
    if (stopped) return
    if (doubt.unheard() === undefined) moves.start()
    else clock.after(MIND_MS, beginMoves)
  }
}
