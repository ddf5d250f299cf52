/**
 * Every conversation that a peer has with others, one row each. docs/PROTOCOLS.md is printed from here and from the
 * comments in the files that `source` names; a test sees to it that no protocol is missing.
 */
import { answer, ASK, ask, PROPOSE, proposal } from './ask/messages.ts'
import { bulkAnswer, bulkAsk, PROTOCOL as BULK } from './bulk/messages.ts'
import { followAnswer, followAsk, PROTOCOL as FOLLOW } from './follow/messages.ts'
import { joinAnswer, joinHello, PROTOCOL as JOIN } from './join/messages.ts'
import { FRAME_BYTES_MAX, GOSSIP_BYTES_MAX } from './limits.ts'
import { message as membership, PROTOCOL as SWIM } from './membership/messages.ts'
import { message as move, PROTOCOL as MOVE } from './move/messages.ts'
import { message as raft, PROTOCOL as RAFT } from './raft/messages.ts'
import { PROTOCOL as REACH, reachAnswer, reachAsk } from './reach/messages.ts'
import { PROTOCOL as REMOVAL, removed } from './removal/messages.ts'
import { copyAnswer, copyAsk, PROTOCOL as COPIES } from './roles/copy-messages.ts'
import { PROTOCOL as ROLES, rolesAnswer, rolesAsk } from './roles/messages.ts'
import { holdingsAnswer, holdingsAsk, PROTOCOL as HOLDINGS } from './swarm/holdings-messages.ts'
import { PROTOCOL as SWARM } from './swarm/messages.ts'
import { digest, meshTopic, sample, siteTopic } from './telemetry/messages.ts'

/** What one protocol id or topic carries, and the most that one frame of it may take. */
type Frame = { readonly name: string; readonly bytesMax: number }

export type Conversation = {
  readonly name: string
  /** As it stands on the wire. The last part is the version: a change that an older peer would misread raises it. */
  readonly id: string
  readonly version: string
  /** How the transport carries it. */
  readonly over: 'frames' | 'requests' | 'channel' | 'topic' | 'door' | 'library' | 'multicast'
  /** Who speaks to whom. */
  readonly between: string
  /** What for, in one line. */
  readonly what: string
  readonly frames: readonly Frame[]
  /** File whose comments say what each message means; absent for what a library speaks. */
  readonly source?: string
}

const MESH = 'MESH'
const SITE = 'SITE'

export const CONVERSATIONS: readonly Conversation[] = [
  {
    name: 'join',
    id: JOIN,
    version: '1',
    over: 'door',
    between: 'a stranger → the issuer of its token, once',
    what: 'a peer asks to be admitted; on a port of its own, until the last token expires',
    frames: [joinHello, joinAnswer],
    source: 'protocols/join/messages.ts',
  },
  {
    name: 'raft',
    id: RAFT,
    version: '1',
    over: 'frames',
    between: 'members of a group, both ways',
    what: 'agreement: elections, replication, snapshots, reads; of the mesh group and of a site group',
    frames: [raft],
    source: 'protocols/raft/messages.ts',
  },
  {
    name: 'follow',
    id: FOLLOW,
    version: '1',
    over: 'requests',
    between: 'a peer outside a group → any peer that holds its log',
    what: "a group's committed entries and snapshots, to whoever is not told by a leader; asks are held until there is something",
    frames: [followAsk, followAnswer],
    source: 'protocols/follow/messages.ts',
  },
  {
    name: 'propose',
    id: PROPOSE,
    version: '1',
    over: 'requests',
    between: 'any member of a group → its leader',
    what: 'a command for a group, answered once it is applied',
    frames: [proposal, answer],
    source: 'protocols/ask/messages.ts',
  },
  {
    name: 'roles',
    id: ROLES,
    version: '1',
    over: 'requests',
    between: "a group's leader → who may vote in it; a voter that is about to stop → its leader",
    what: 'what is needed to choose voters; that a vote is to be handed over',
    frames: [rolesAsk, rolesAnswer],
    source: 'protocols/roles/messages.ts',
  },
  {
    name: 'copies',
    id: COPIES,
    version: '1',
    over: 'requests',
    between: "the leader of a site's group → peers of other sites",
    what: 'who would keep a copy of the log of a site, and who is to',
    frames: [copyAsk, copyAnswer],
    source: 'protocols/roles/copy-messages.ts',
  },
  {
    name: 'ask',
    id: ASK,
    version: '1',
    over: 'requests',
    between: 'any peer → the peer that can answer',
    what: 'an operation of an operator, or a question of a peer (`move.reserve`), passed on at most HOPS_MAX times',
    frames: [ask, answer],
    source: 'protocols/ask/messages.ts',
  },
  {
    name: 'membership',
    id: SWIM,
    version: '1',
    over: 'frames',
    between: 'connected peers, both ways; never dials',
    what: 'who is in sight: SWIM with Lifeguard',
    frames: [membership],
    source: 'protocols/membership/messages.ts',
  },
  {
    name: 'sample',
    id: siteTopic(MESH, SITE),
    version: '1',
    over: 'topic',
    between: 'each peer → all peers of its site',
    what: 'what a host says of itself, every SAMPLE_MS',
    frames: [sample],
    source: 'protocols/telemetry/messages.ts',
  },
  {
    name: 'digest',
    id: meshTopic(MESH),
    version: '1',
    over: 'topic',
    between: "each site's leader → all peers of the mesh",
    what: 'what a site says of itself, every DIGEST_MS',
    frames: [digest],
    source: 'protocols/telemetry/messages.ts',
  },
  {
    name: 'move',
    id: MOVE,
    version: '1',
    over: 'frames',
    between: 'source host ↔ destination host of a move',
    what: 'the steps of a move; what is decided stands in logs, what is copied goes through the swarm',
    frames: [move],
    source: 'protocols/move/messages.ts',
  },
  {
    name: 'swarm',
    id: SWARM,
    version: '1',
    over: 'channel',
    between: 'downloader ↔ source, about one image',
    what: 'chunks of images, on a connection for bulk',
    frames: [{ name: 'swarm', bytesMax: FRAME_BYTES_MAX }],
    source: 'protocols/swarm/messages.ts',
  },
  {
    name: 'holdings',
    id: HOLDINGS,
    version: '1',
    over: 'requests',
    between: 'any peer → who may hold chunks that it looks for',
    what: 'which chunks of an image are held and what they take, or which of a sample of chunks of an image never seen',
    frames: [holdingsAsk, holdingsAnswer],
    source: 'protocols/swarm/holdings-messages.ts',
  },
  {
    name: 'bulk',
    id: BULK,
    version: '1',
    over: 'requests',
    between: 'who opens a channel → who serves it, where they are connected directly',
    what: 'the key of a TLS socket of its own for that channel; without one it is a stream',
    frames: [bulkAsk, bulkAnswer],
    source: 'protocols/bulk/messages.ts',
  },
  {
    name: 'reach',
    id: REACH,
    version: '1',
    over: 'requests',
    between: 'a peer → some that it is connected with, every few minutes',
    what: 'whether they can dial it; if one cannot, it takes slots at relays',
    frames: [reachAsk, reachAnswer],
    source: 'protocols/reach/messages.ts',
  },
  {
    name: 'removal',
    id: REMOVAL,
    version: '1',
    over: 'frames',
    between: 'any peer → a removed one that dials it, now and then',
    what: 'that it is no peer any more; nothing else is said to it, and the connection ends',
    frames: [removed],
    source: 'protocols/removal/messages.ts',
  },
  {
    name: 'kad',
    id: '/godwit/kad/1',
    version: '1',
    over: 'library',
    between: 'any two peers',
    what: "@libp2p/kad-dht under an id of our own: where peers are, who provides which image; by admitted peers' connections only",
    frames: [],
  },
  {
    name: 'gossipsub',
    id: '/meshsub/1.2.0',
    version: '1.2',
    over: 'library',
    between: 'neighbours on a topic',
    what: '@libp2p/gossipsub, messages signed by their author (StrictSign), peers scored; carries the topics above',
    frames: [{ name: 'one message', bytesMax: GOSSIP_BYTES_MAX }],
  },
  {
    name: 'ping',
    id: '/ipfs/ping/1.0.0',
    version: '1.0',
    over: 'library',
    between: 'connected peers, both ways',
    what: '@libp2p/ping: round-trip times, and whether a link is still there',
    frames: [],
  },
  {
    name: 'identify',
    id: '/ipfs/id/1.0.0',
    version: '1.0',
    over: 'library',
    between: 'connected peers, once for each connection',
    what: '@libp2p/identify: protocols that the other side serves, its addresses',
    frames: [],
  },
  {
    name: 'relay',
    id: '/libp2p/circuit/relay/0.2.0/hop',
    version: '0.2.0',
    over: 'library',
    between: 'a peer that others cannot dial, or who wants to reach it → its relay',
    what: '@libp2p/circuit-relay-v2: slots and circuits, for admitted peers only; the relay sees ciphertext',
    frames: [],
  },
  {
    name: 'relayed',
    id: '/libp2p/circuit/relay/0.2.0/stop',
    version: '0.2.0',
    over: 'library',
    between: 'a relay → the peer that has a slot',
    what: '@libp2p/circuit-relay-v2: somebody dials you through me',
    frames: [],
  },
  {
    name: 'dcutr',
    id: '/libp2p/dcutr',
    version: '1',
    over: 'library',
    between: 'two peers that are connected through a relay',
    what: '@libp2p/dcutr: both dial each other at once, so that their NATs let them through',
    frames: [],
  },
  {
    name: 'autonat',
    id: '/libp2p/autonat/1.0.0',
    version: '1.0.0',
    over: 'library',
    between: 'a peer with a public address of its own → others',
    what: '@libp2p/autonat: whether that address can be dialled',
    frames: [],
  },
  {
    name: 'mdns',
    id: '_godwit-MESH._udp.local',
    version: '1',
    over: 'multicast',
    between: 'peers on one LAN',
    what: '@libp2p/mdns: addresses of peers of the same mesh; whoever answers must still be admitted',
    frames: [],
  },
]
