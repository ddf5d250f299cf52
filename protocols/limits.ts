/**
 * Every bound of the system, with its unit and its reason. Relations between bounds are asserted here, at load.
 * docs/LIMITS.md is printed from this file's exports and comments.
 */
import assert from 'node:assert/strict'

// Frames ---------------------------------------------------------------------------------------------------------

/** 1 MiB: under a second on a 10 Mbit/s uplink, and room for three 256 KiB chunks that do not compress. */
export const FRAME_BYTES_MAX = 1024 * 1024
/** One Raft, membership, move or join message. Raft entries are cut into messages below this. */
export const MESSAGE_BYTES_MAX = 512 * 1024
/** One gossip message: a site's digest of 200 VMs fits; a flood of them does not hurt a 5 Mbit/s uplink. */
export const GOSSIP_BYTES_MAX = 64 * 1024
/** Frames that wait for a connection to one peer; past it the oldest go, as if the network had lost them. */
export const SEND_QUEUE_FRAMES_MAX = 256
/** Inbound streams of one protocol by one peer: one long-lived, a few for requests, some while streams change. */
export const INBOUND_STREAMS_MAX = 64
/** Requests in hand for one peer; more are refused with PEER_BUSY. */
export const REQUESTS_PER_PEER_MAX = 64
/** Bad frames of one peer in a minute: past it, it is cut off. A newer version that we misread shows long before. */
export const BAD_FRAMES_PER_MINUTE_MAX = 20
/** How long a peer that was cut off is refused: its sender must notice, and a repaired one must come back. */
export const REFUSED_MS = 60_000
/** Peers with whom a connection is kept at all times; in a larger mesh, a subset that a hash chooses. */
export const PEERS_KEPT_MAX = 64

// Relays ---------------------------------------------------------------------------------------------------------

/** Peers that one relay keeps reachable: all of a mesh of the usual size; more find another. */
export const RELAY_SLOTS_MAX = 256
/** Circuits of one peer through one relay at a time: control with every peer kept, as many again while they change. */
export const CIRCUITS_MAX = 2 * PEERS_KEPT_MAX
/** Then a circuit is cut and must be dialled anew, which tries the direct way first. */
export const CIRCUIT_MS_MAX = 2 * 3_600_000
/** Both directions of one circuit: hours of agreement and telemetry, or a guest's disk in a few turns. */
export const CIRCUIT_BYTES_MAX = 4 * 1024 ** 3
/** Bulk that one channel sends over a relay, in a second: a third of a 100 Mbit/s line, which the relay pays twice. */
export const CIRCUIT_BULK_BYTES_PER_S = 4 * 1024 ** 2
/** Peers asked whether they can dial this one, and dials made for askers at once. */
export const REACH_ASKED_MAX = 8
export const REACH_DIALS_MAX = 4

// Sockets for bulk ----------------------------------------------------------------------------------------------

/** How long the key of one is good for: the answer that brings it, the dial, a lost packet of each. */
export const BULK_TICKET_MS = 10_000
/** Keys of one peer that wait for their handshake: as many as it may have requests in hand. */
export const BULK_TICKETS_MAX = 64
/** How long an answer to the question for a key, and then the dial with it, may hold a channel up that streams can have. */
export const BULK_ASK_MS = 2_000
export const BULK_DIAL_MS = 1_500
/** A handshake takes three round trips with TCP's; then it is cut. */
export const BULK_HANDSHAKE_MS = 3_000
assert(BULK_DIAL_MS + BULK_HANDSHAKE_MS < BULK_TICKET_MS)
/** Handshakes under way, in all and from one address: a site behind one NAT after a power cut has streams for the rest. */
export const BULK_HANDSHAKES_MAX = 64
export const BULK_HANDSHAKES_PER_ADDRESS_MAX = 32

// Time -----------------------------------------------------------------------------------------------------------

/** Dialling a peer over a 300 ms link takes 6 round trips; a dead one must not hold anybody up. */
export const DIAL_MS_MAX = 5_000
/** A forwarded request: two seconds is what a refusal may take (DESIGN: refused in 2 s), plus one slow round trip. */
export const REQUEST_MS = 2_500
/** How long a proposal may wait for commitment before its asker is told. */
export const PROPOSE_MS = 2_000
/** One attempt at it over the network: a slow round trip, a commit at the same distance, an fsync. It is harmless to repeat. */
export const ATTEMPT_MS = 1_000
assert(ATTEMPT_MS < PROPOSE_MS)
/** Between attempts: a leader is known again within an election, and nobody is flooded meanwhile. */
export const LEADER_AGAIN_MS = 100
/** Raft's tick: what its timing is agreed on in. Ticks in which nothing can be due are slept through (node/ticker.ts). */
export const TICK_MS = 10
/** Until a group agrees on its own. Four heartbeats fit in the shortest election timeout: losing three elects nobody. */
export const HEARTBEAT_TICKS = 50
export const ELECTION_TICKS = 200
assert(HEARTBEAT_TICKS * 4 <= ELECTION_TICKS)
/**
 * Between these a group agrees on its timing (protocols/raft/timing.ts). Shorter elections than 150 ms would begin with
 * a process that collects its garbage, longer ones than 10 s help no link that one can work with.
 */
export const ELECTION_MS_MIN = 150
export const ELECTION_MS_MAX = 10_000
/** Twenty a second cost a follower nothing that can be measured; two a second still find a broken link in a second. */
export const HEARTBEAT_MS_MIN = 50
export const HEARTBEAT_MS_MAX = 500
assert(HEARTBEAT_MS_MIN * 3 <= ELECTION_MS_MIN && HEARTBEAT_TICKS * TICK_MS <= HEARTBEAT_MS_MAX)
assert(ELECTION_TICKS * TICK_MS <= ELECTION_MS_MAX)

// Agreement ------------------------------------------------------------------------------------------------------

/** One proposal. A VM spec is at most 32 KiB; a move carries one, with its disks. */
export const PROPOSAL_BYTES_MAX = 128 * 1024
/** What of it is the command: the envelope says whose it is, which one, and when (protocols/raft/envelope.ts). */
export const COMMAND_BYTES_MAX = PROPOSAL_BYTES_MAX - 1_024
/** Proposals that wait for commitment on one leader: back-pressure, not memory, is the answer to more. */
export const PROPOSALS_MAX = 1_024
/** Entries kept after the newest snapshot: a follower this far behind catches up from entries, others by snapshot. */
export const LOG_ENTRIES_KEPT = 1_024
/** Applied entries after which a snapshot is made. */
export const SNAPSHOT_EVERY_ENTRIES = 4_096
/** One part of a snapshot that goes over the wire. */
export const SNAPSHOT_PART_BYTES = 256 * 1024
assert(SNAPSHOT_PART_BYTES < MESSAGE_BYTES_MAX)
/** Parts of a snapshot under way to one follower: 512 KiB keep a 10 Mbit/s link of 300 ms busy. */
export const SNAPSHOT_PARTS_IN_FLIGHT = 2
/** 4,096 VMs with specs of 32 KiB: the largest state that a group may hold. */
export const STATE_BYTES_MAX = 128 * 1024 ** 2
/** Sessions of one group: each peer that proposes has one for each of its lives; past it the least recently used ends. */
export const SESSIONS_MAX = 4_096
/** A session that was not used for this long ends: no proposal is retried for more than seconds. */
export const SESSION_MS = 3_600_000
/** What one entry may move the agreed clock on: who comes with a wrong clock needs hundreds of entries to end a session. */
export const CLOCK_STEP_MS_MAX = 10_000
assert(CLOCK_STEP_MS_MAX * 100 < SESSION_MS)
/** Proposals of one session that may be under way: all that a leader takes. */
export const SESSION_WINDOW = 1_024
assert(SESSION_WINDOW === PROPOSALS_MAX)
/** A kept answer, as JSON; an epoch or a refusal is a few hundred characters. A longer one is given once. */
export const ANSWER_LENGTH_MAX = 4_096
/** Answers kept for all sessions together, until their askers have them: a whole window of the longest fits. */
export const ANSWERS_MAX = 65_536
export const ANSWERS_LENGTH_MAX = 8 * 1024 ** 2
assert(SESSION_WINDOW * ANSWER_LENGTH_MAX <= ANSWERS_LENGTH_MAX && SESSION_WINDOW <= ANSWERS_MAX)
/** What sessions add to a snapshot: up to 3 bytes a character, 16 bytes for each answer's frame, 64 for a session's. */
const SESSIONS_BYTES_MAX = 3 * ANSWERS_LENGTH_MAX + 16 * ANSWERS_MAX + 64 * SESSIONS_MAX + 1_024
export const SNAPSHOT_BYTES_MAX = STATE_BYTES_MAX + SESSIONS_BYTES_MAX
/** Voters of one group: more cost every write and add nothing (etcd's advice). */
export const VOTERS_MAX = 7
/** Followers without a vote; their ids ride in every snapshot part beside its data. */
export const LEARNERS_MAX = 1_024
/** A peer id of at most 64 characters, `#`, and an incarnation of at most 10. */
export const MEMBER_ID_LENGTH_MAX = 75
/** All ids of one configuration, with what frames them. */
export const CONFIGURATION_BYTES_MAX = (LEARNERS_MAX + 3 * VOTERS_MAX) * (MEMBER_ID_LENGTH_MAX + 2) + 256
assert(SNAPSHOT_PART_BYTES + CONFIGURATION_BYTES_MAX + 1_024 < MESSAGE_BYTES_MAX)
/** Peers whose round trips one candidate names to the leader: the voters, and as many who may become ones. */
export const ROLES_ROUND_TRIPS_MAX = 32
/** Peers that a leader considers as voters at a time, members included: all that a choice of seven can use. */
export const CANDIDATES_MAX = 64
/** Candidates asked at once: few enough that two hundred that join together cost the leader no more than twenty. */
export const CANDIDATES_ASKED_MAX = 8
/** Generations before its own that a group remembers: more recoveries of one group than anybody has seen. */
export const LINEAGE_MAX = 16
/** Rivals of a site's registered generation that the mesh remembers: each is an operator's mistake. */
export const RIVALS_MAX = 4
/** Logs of other sites that one peer keeps copies of: states in memory, of which few are large. */
export const COPIES_KEPT_MAX = 32
/** Peers of other sites that a leader asks whether they would keep a copy: one each of as many sites. */
export const COPIES_ASKED_MAX = 8
/** Entries of one MsgApp: bytes with 64 for each entry's frame, at least one entry; a first entry may pass it. */
export const APPEND_BYTES_MAX = 256 * 1024
export const APPEND_ENTRIES_MAX = 1_024
assert(APPEND_BYTES_MAX + PROPOSAL_BYTES_MAX + 4_096 < MESSAGE_BYTES_MAX)
/** A commit index waits this long for entries to go along with: longer than a busy group takes to its next ones on a LAN. */
export const COMMIT_WAIT_MS = 5
assert(COMMIT_WAIT_MS < TICK_MS)
/** MsgApps under way to one follower: 4 MiB fill 100 Mbit/s at 300 ms; fewer than a transport's queue holds. */
export const INFLIGHT_APPENDS_MAX = 64
export const INFLIGHT_APPEND_BYTES_MAX = 4 * 1024 ** 2
assert(INFLIGHT_APPENDS_MAX < SEND_QUEUE_FRAMES_MAX)
/** Proposed and not committed on one leader; past it proposals are refused as busy. */
export const UNCOMMITTED_BYTES_MAX = 16 * 1024 ** 2
/**
 * A leader whose write neither fails nor finishes for this long, or fails again and again, hands over: longer than the fsync of a
 * worn SD card behind a full journal, and soon enough that the group is stopped for no longer than by a crash.
 */
export const STUCK_WRITE_MS = 5_000
/** A failed write is tried again after this: no spinning on a full disk, and soon after room is made it goes on. */
export const WRITE_AGAIN_MS = 1_000
assert(WRITE_AGAIN_MS < STUCK_WRITE_MS)
/**
 * How often the state of a group that this peer decides alone is copied, for each MiB of it: what a damaged log may cost is
 * seconds, and a state of 1 MiB takes a hundredth of a second each time.
 */
export const COPY_MS = 5_000
/** Linearizable reads that wait on one peer. */
export const READS_MAX = 1_024
assert(PROPOSAL_BYTES_MAX * 2 < MESSAGE_BYTES_MAX)

// Following ------------------------------------------------------------------------------------------------------

/** An ask with nothing newer to answer is held this long: what a quiet group costs each follower is one frame in it. */
export const FOLLOW_HOLD_MS = 5_000
/** Asks that one source holds at once, one for each follower; more are told to go elsewhere. */
export const FOLLOWERS_MAX = 256
/** Answered and not known to have arrived: 256 followers that catch up at once cost a source no more memory than this. */
export const FOLLOW_IN_FLIGHT_BYTES_MAX = 8 * 1024 ** 2
assert(FOLLOW_IN_FLIGHT_BYTES_MAX > 2 * MESSAGE_BYTES_MAX)
/** After this an answer has arrived or never will: a page at 1 Mbit/s, with a slow round trip. */
export const FOLLOW_FLIGHT_MS = 10_000
/** Peers between a follower and a member: one crosses the WAN, one serves the site, and as many again while they change. */
export const FOLLOW_HOPS_MAX = 4
/** News older than this come from nobody that is in touch with the group: look elsewhere. Two held asks, and time to ask anew. */
export const FOLLOW_ADRIFT_MS = 15_000
assert(FOLLOW_ADRIFT_MS >= 2 * FOLLOW_HOLD_MS + 2 * REQUEST_MS)
/** A source may stay behind the newest position heard of for this long: a page and a held ask. */
export const FOLLOW_BEHIND_MS = 10_000
/** How often a follower looks whether somebody nearer than its source follows, too. */
export const FOLLOW_LOOK_MS = 30_000
/** A member that hears no leader for this long follows like everybody else: several elections have failed by then. */
export const FOLLOW_AFTER_MS = 5_000
/** How often it is looked who is connected, and who is heard. */
export const FOLLOW_BEAT_MS = 1_000
/** Who had nothing to give is asked again after this; doubled each time up to the second number. */
export const FOLLOW_AGAIN_MS_MIN = 500
export const FOLLOW_AGAIN_MS_MAX = 8_000
/** Snapshots that a source holds on to for followers in the middle of them, besides its newest. */
export const FOLLOW_SNAPSHOTS_KEPT = 2

// Removed peers --------------------------------------------------------------------------------------------------

/** A removed peer that dials on and on is told so again after this: once is lost now and then, more is for nobody. */
export const FAREWELL_AGAIN_MS = 30_000
/** What one farewell may take: two round trips over a slow link. The stranger is connected that long at the most. */
export const FAREWELL_MS = 3_000

// What a mesh holds ----------------------------------------------------------------------------------------------

export const PEERS_MAX = 16_384
export const SITES_MAX = 4_096
/** Removed peers that are remembered by name: for people who ask where one went, and for those peers themselves. */
export const REMOVED_MAX = 256
export const SITE_PEERS_MAX = 256
/** VMs of one site; its digest names the first DIGEST_VMS_MAX of them. */
export const SITE_VMS_MAX = 4_096
export const DIGEST_VMS_MAX = 200
/**
 * Deleted VMs that a site remembers, the newest. What could bring one back is a command of its last move that was proposed
 * before its holder gave it up: that is over within seconds (PROPOSE_MS), in which nobody deletes so many.
 */
export const TOMBSTONES_MAX = 1_024
/**
 * Join tokens that are remembered: until a day after they expire, so that a late use is told why it is refused, or until
 * there are so many that those that have ended give way.
 */
export const TOKENS_MAX = 256
export const NAME_LENGTH_MAX = 63
export const LABELS_MAX = 32
export const DISKS_MAX = 16
export const NICS_MAX = 8
export const SPEC_BYTES_MAX = 32 * 1024
assert(SPEC_BYTES_MAX * 2 < PROPOSAL_BYTES_MAX)
/**
 * How soon after something was made durable the binding of the data folder is raised, in ms: a copy that lacks it is found
 * out from then on. Costs two fsyncs at most so often while a peer writes, and none while it does not.
 */
export const BINDING_RAISE_MS = 1_000
/** Jobs that a peer remembers after they ended. */
export const JOBS_KEPT = 256

// Images ---------------------------------------------------------------------------------------------------------

/** 256 KiB: 1-3 % more compressed bytes than 64 KiB, and a quarter of the index (measured; DESIGN section 7). */
export const CHUNK_BYTES = 256 * 1024
/** Chunk sizes that a manifest may name; simulated images use the small ones. */
export const CHUNK_BYTES_MIN = 4 * 1024
export const CHUNK_BYTES_MAX = 4 * 1024 * 1024
/** A stored frame may be larger than its chunk by zstd's header and no more. */
export const CHUNK_FRAME_SLACK = 512
/** 16 TiB of disk is 64 Mi chunks; larger images are refused. */
export const IMAGE_BYTES_MAX = 16 * 1024 ** 4
/**
 * Its hashes are 2 GiB: what a manifest may take of a disk, whatever its chunk size; in memory are 32 KiB of its tree, and 6 bytes
 * a chunk while it is downloaded.
 */
export const IMAGE_CHUNKS_MAX = IMAGE_BYTES_MAX / CHUNK_BYTES
/** A file of the chunk store: room comes back in steps of this, and a terabyte of frames is 4,096 files. */
export const SEGMENT_BYTES_MAX = 256 * 1024 ** 2
/** How often the store is looked after: a part of it is read again, what is damaged is fetched, and now and then collected. */
export const HOUSEKEEPING_MS = 60_000
/** One part, read at the rate below: 100 GiB are read once in 7 h, a terabyte in 3 days. */
export const SCRUB_BYTES = 256 * 1024 ** 2
/** What looking after the store may read or copy: a twentieth of what a small disk can, so that guests do not notice. */
export const HOUSEKEEPING_BYTES_PER_SECOND = 8 * 1024 ** 2
/** Chunks that no manifest names (of imports that were cancelled, of images that went) are dropped once a day at most. */
export const COLLECT_MS = 24 * 3_600_000
/** A segment is copied once a quarter of it is garbage: at the worst a third more disk than what is kept. */
export const COLLECT_LIVE_MAX = 0.75
/** Frames of what has yet to come, as a part of its content: those of file systems take 0.36 (measured), and some more is left. */
export const FRAME_SHARE = 0.5
/** Of the disk, kept free of images: logs and journals go on, and LevelDB opens anew after a full disk with 8 MiB. */
export const DISK_RESERVE_SHARE = 0.02
/** Room that an operator waits for comes back faster than by housekeeping: half of what a small disk can. */
export const PRUNE_BYTES_PER_SECOND = 64 * 1024 ** 2
/** Images pinned on one peer: each is a record that is read at every start. */
export const PINS_MAX = 4_096
/** Images that one question for vouchers names: 4 KiB of ids. */
export const VOUCH_IMAGES_MAX = 64
/** Peers that are asked to vouch: those of a site, and some beyond. */
export const VOUCH_PEERS_MAX = 32
/** To look a terabyte's chunks up takes a peer some seconds. */
export const VOUCH_WAIT_MS = 10_000
/** An older answer is relied on no more: a disk may have failed since. */
export const VOUCH_MS = 300_000
assert(VOUCH_WAIT_MS * 4 <= VOUCH_MS)
/** A damaged image that nobody could help with is asked for again. */
export const REPAIR_RETRY_MS = 600_000
/** Bytes asked of one peer and not yet here, until its bandwidth-delay product is known. */
export const IN_FLIGHT_BYTES_MIN = 1024 * 1024
export const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024
/** Peers that one download talks to at once. */
export const SOURCES_MAX = 32
/** They are counted in bytes (migration/swarm/holdings.ts). */
assert(SOURCES_MAX < 256)
/** Chunks asked of one peer and not yet here, however small their frames are: what a source keeps in its queue. */
export const REQUESTS_PER_SOURCE_MAX = 512
/** Chunks named in one message: 4,096 are 20 KiB, and no peer waits long for the rest of its turn. */
export const INDEXES_MAX = 4_096
/** Frames of one download asked for or waiting for the disk: what it may hold in memory at any time. */
export const DOWNLOAD_BYTES_MAX = 64 * 1024 * 1024
assert(IN_FLIGHT_BYTES_MAX * 2 <= DOWNLOAD_BYTES_MAX)
/** Images that a peer fetches at once; each may hold DOWNLOAD_BYTES_MAX. */
export const DOWNLOADS_MAX = 4
/** One part of a manifest or of a list of chunks: a tenth of a second on a 20 Mbit/s link. */
export const SWARM_PART_BYTES = 256 * 1024
/**
 * Hashes of a manifest that are sent, checked and kept together: 2 MiB, 16 GiB of an image, so what a cut takes is a second of a
 * 20 Mbit/s link, and a group is all that either end holds of a manifest.
 */
export const MANIFEST_GROUP_CHUNKS = 64 * 1024
export const MANIFEST_GROUPS_MAX = IMAGE_CHUNKS_MAX / MANIFEST_GROUP_CHUNKS
/** A hash for each chunk, and 8 bytes for each run: every other chunk of zeros makes the most of those, and half the hashes. */
export const MANIFEST_GROUP_BYTES_MAX = MANIFEST_GROUP_CHUNKS * 32 + 16
/** Groups asked of one source and not yet here: one on its way, one behind it. */
export const MANIFEST_GROUPS_AHEAD = 2
/** Sources that bring groups of one manifest at once. */
export const MANIFEST_SOURCES_MAX = 4
/** Manifests received in part that are kept for the next try: their groups are not fetched twice. 128 MiB each for a terabyte. */
export const MANIFEST_DRAFTS_KEPT = 8
/** A manifest as one stream, to or from a peer that knows no groups: 2 TiB of disk in 256 KiB chunks, the most such a peer takes. */
export const MANIFEST_BYTES_MAX = 320 * 1024 * 1024
/** Chunks that a downloader names to a source without the manifest: 16 GiB of image in a 2 MiB list. */
export const LISTED_CHUNKS_MAX = 64 * 1024
/** Chunks in one section of a have-map: 128 KiB as bits. */
export const HAVE_SECTION_CHUNKS = 1024 * 1024
/** Chunks that one question about holdings is about: 16 GiB of image, and a fifth of a second of look-ups for who answers. */
export const HOLDINGS_CHUNKS_MAX = 64 * 1024
/** Chunks of a digest, 8 KiB: who holds a fiftieth of what is missing is found with a chance of 99 %. */
export const HOLDINGS_SAMPLE_MAX = 256
/**
 * Chunks that a peer looks up for one other in a second, in the long run; at once it answers for a terabyte. A question counts
 * as HOLDINGS_QUESTION_CHUNKS more, so that small ones are no more than 64 a second.
 */
export const HOLDINGS_CHUNKS_PER_SECOND = 64 * 1024
export const HOLDINGS_CHUNKS_AT_ONCE = 4 * 1024 * 1024
export const HOLDINGS_QUESTION_CHUNKS = 1_024
assert(HOLDINGS_CHUNKS_MAX + HOLDINGS_QUESTION_CHUNKS < HOLDINGS_CHUNKS_AT_ONCE)
/** Questions about holdings in hand for all; more are refused as busy: each may have a manifest in memory. */
export const HOLDINGS_IN_HAND_MAX = 8
/** A peer that says nothing about its holdings for this long is shown as silent: a slow round trip and the look-ups. */
export const HOLDINGS_MS = 2_000
/** Chunks of bases under guests' disks that are known by name: 256 GiB of bases in 36 MiB at most. */
export const BASES_CHUNKS_MAX = 1024 * 1024
/** Peers that are asked where an image is, or what it would cost to bring it: those of the site first. */
export const LOCATED_PEERS_MAX = 256
export const PLANNED_PEERS_MAX = 64
/** Images of which it is remembered who held what, for when a peer is silent. */
export const LOCATED_IMAGES_KEPT = 16
/** Peers asked for a digest at a time: those of the own site, and some of the nearest others, two of a site. */
export const NEIGHBOURS_MAX = 24
export const NEIGHBOUR_SITES_MAX = 4
/** A silence this long makes other sources be asked too; with the picker's beat a dead source costs 300 ms. */
export const LATE_MS_MIN = 250
/** How often a download looks at its clock: lateness, endgame, rate. */
export const PICK_MS = 50
/** A source that owes chunks and says nothing for this long is hung up on: at 1 Mbit/s a chunk takes 2 s. */
export const SOURCE_SILENT_MS = 10_000
/** A download ends when nobody in sight brings anything for this long: four dials, or two searches of the DHT. */
export const NO_SOURCE_MS = 20_000
assert(NO_SOURCE_MS >= DIAL_MS_MAX * 4 && SOURCE_SILENT_MS < NO_SOURCE_MS)
/** How often a running download asks the directory again: soon at first, then seldom. */
export const FIND_SOURCES_MS_MIN = 1_000
export const FIND_SOURCES_MS = 10_000
/** How long such a question may take: a lookup of a few hops over slow links. */
export const FIND_SOURCES_PATIENCE_MS = 5_000
/** A lost source is tried again after this, doubling up to the second number. */
export const RECONNECT_MS_MIN = 500
export const RECONNECT_MS_MAX = 8_000
/** A source that was asked this long ago and has nothing to give leaves its place to another. */
export const IDLE_SOURCE_MS = 2_000
/** A peer that sent a bad chunk is not asked again for this long; an operator needs minutes to mend a disk. */
export const BAN_MS = 600_000
/** Channels that a peer serves chunks on at once: a site's neighbours and a swarm; more are refused. */
export const SERVED_CHANNELS_MAX = 256
/** Such lists that a peer keeps at once, 10 MiB each with their index. */
export const SERVED_LISTS_MAX = 16
/** Frames read from disk for one channel and not yet taken by it; a slow peer costs no more memory than this. */
export const SERVE_AHEAD_BYTES_MAX = 1024 * 1024
/** Reads of the chunk store under way for all channels together: the disk stays fair to the VMs on it. */
export const SERVE_READS_MAX = 16
/** News of chunks gained is gathered this long before it is told: a message per chunk would cost as much as requests. */
export const HAVE_MORE_MS = 50

// The gateway: BitTorrent and HTTP, strangers all ------------------------------------------------------------------

/** A .torrent: the hashes of TORRENT_PIECES_MAX pieces, and as much again for names. */
export const TORRENT_BYTES_MAX = 16 * 1024 * 1024
/** What bittorrent-protocol's bitfields grow to: no more than this can be told of a peer. */
export const TORRENT_PIECES_MAX = 400_000
/** One block is the least that is asked for at once; a whole piece is kept in memory until its hash is known. */
export const TORRENT_PIECE_BYTES_MIN = 16 * 1024
export const TORRENT_PIECE_BYTES_MAX = 64 * 1024 * 1024
/** Pieces of what is published, at most, while they can be made larger: 16 GiB in 256 KiB, and a .torrent of 1.3 MiB. */
export const TORRENT_PIECES_WANTED = 64 * 1024
assert(IMAGE_BYTES_MAX / TORRENT_PIECE_BYTES_MAX <= TORRENT_PIECES_MAX)
export const TORRENT_FILES_MAX = 10_000
export const TRACKERS_MAX = 32
/** Peers that an operator or a magnet link names. */
export const TORRENT_PEERS_NAMED_MAX = 64
/** Nobody has told what is in the torrent for this long: a magnet link that leads nowhere. */
export const TORRENT_METADATA_MS = 60_000
/** Nothing new has come for this long: nobody in sight has what is missing. What is here stays, for the next time. */
export const OUTSIDE_SILENCE_MS = 10 * 60_000
/** Of an image from outside, asked for and not stored yet: a tenth of a second at 5 Gbit/s. Two pieces where these are larger. */
export const OUTSIDE_WINDOW_BYTES = 64 * 1024 * 1024
/** Imports from outside at once: each is a thread with a window of its own. */
export const OUTSIDE_IMPORTS_MAX = 4
/** Connections of one import, and of one published address. */
export const TORRENT_PEERS_MAX = 48
/** An image that cannot be published just now, its address mostly, is tried again. */
export const REPUBLISH_MS = 60_000
/** Images that a peer publishes. */
export const PUBLICATIONS_MAX = 256
/** A message of a BitTorrent peer: its bitfield of TORRENT_PIECES_MAX, or a block of 128 KiB, and room to grow. */
export const TORRENT_MESSAGE_BYTES_MAX = 256 * 1024
assert(TORRENT_PIECES_MAX / 8 < TORRENT_MESSAGE_BYTES_MAX)
/** Bytes that a BitTorrent peer asked for and has not taken yet: beyond, its further requests wait. */
export const TORRENT_UNSENT_BYTES_MAX = 1024 * 1024
/** Requests of one BitTorrent peer that wait: what other clients ask for at once is 500 at most. */
export const TORRENT_REQUESTS_MAX = 2_048
/** Chunks that a published image keeps unpacked, for requests of 16 KiB each. */
export const TORRENT_CACHE_BYTES = 32 * 1024 * 1024
/** A thread of the gateway that has not answered for this long hangs, and is ended: its loop is fed by strangers. */
export const GATEWAY_SILENCE_MS = 20_000

// Blocks of chunks that nobody near holds whole --------------------------------------------------------------------

/** A block list: a terabyte of content, 1.5 GiB of fingerprints, read in pieces. Images with more go without. */
export const BLOCK_LIST_BLOCKS_MAX = 2 ** 28
/** A sketch: one block in 256 of 16 GiB of content in 96 KiB; of larger images fewer. */
export const SKETCH_FINGERPRINTS_MAX = 16 * 1024
/** Images whose blocks are looked at for one download, the nearest ones: more of them bring next to nothing. */
export const BASES_MAX = 4
/** Blocks looked up at once: 1,024 chunks of 256 KiB, 1.7 MiB of index. */
export const WINDOW_BLOCKS_MAX = 64 * 1024
/** Chunks whose fingerprints are asked for in one message, and the bytes of the answer: all of 1,024 such chunks. */
export const PRINTS_CHUNKS_MAX = 1_024
export const PRINTS_BYTES_MAX = WINDOW_BLOCKS_MAX * 6
assert(PRINTS_BYTES_MAX + PRINTS_CHUNKS_MAX * 5 < FRAME_BYTES_MAX)
/** Chunks whose blocks go in one frame, and the bytes of these: what zstd is given at once, and both ends hold. */
export const BATCH_CHUNKS_MAX = 1_024
export const BATCH_BYTES_MAX = 16 * 1024 ** 2
/** Chunks of a batch's dictionary, of 256 KiB: as much as a batch; half of it costs a third more bytes (decision 13). */
export const DICTIONARY_CHUNKS_MAX = 60
export const DICTIONARY_BYTES_MAX = 15 * 1024 ** 2
/** zstd's window for a batch and its dictionary: 32 MiB, the most that unpacking may take. */
export const DELTA_WINDOW_LOG_MAX = 25
assert(2 ** DELTA_WINDOW_LOG_MAX > BATCH_BYTES_MAX + DICTIONARY_BYTES_MAX)
/** Requests about blocks that a source works on at once, one of a channel: each holds a batch and a dictionary. */
export const BLOCK_JOBS_MAX = 2
/** Such requests that wait for their turn: the last of them for a few seconds. More are answered `plain`. */
export const BLOCK_WAITING_MAX = 16
/** Deltas that wait for slow channels, all together; while there are more, chunks go whole. */
export const BLOCK_UNSENT_BYTES_MAX = 32 * 1024 ** 2
/** How often it is looked after which block lists are missing. */
export const LISTING_MS = 60_000
/** An image that is not here whole is looked at again, if nobody says before that it has come. */
export const LISTING_AGAIN_MS = 3_600_000
/** Frames read to make a list: a tenth of one core, and of a small disk; 1 GiB of content takes 15 s. */
export const LISTING_BYTES_PER_SECOND = 32 * 1024 ** 2
/** What a download waits for lists of images that came just before it: half a GiB of them. */
export const LISTING_PATIENCE_MS = 5_000
/** Chunks that are lent for one of several sources at once, at least: one judgement of the gain. */
export const LEND_CHUNKS_MIN = 64
/** Chunks that come by blocks before their gain is judged: 16 MiB, with which a download of a minute can be wrong. */
export const WORTH_CHUNKS = 64

// Journal --------------------------------------------------------------------------------------------------------

/** Entries that wait for the disk; past it the oldest go, and the journal says how many. */
export const JOURNAL_QUEUE_MAX = 512
/** Entries of one answer. */
export const JOURNAL_TAIL_MAX = 1_024
/** Boots whose journals are kept, this one with them. */
export const JOURNAL_BOOTS_KEPT = 64

// Observation ----------------------------------------------------------------------------------------------------

/** How often a host samples itself and tells its site. */
export const SAMPLE_MS = 5_000
/** How often a site's digest goes to the mesh. */
export const DIGEST_MS = 10_000
/** A value older than this is marked stale wherever it is shown. */
export const STALE_MS = 30_000
assert(DIGEST_MS * 2 < STALE_MS)
/** Something changed: told sooner than that, but not more often than this. */
export const HURRY_MS = 500
/** The same for digests, which go to every peer of the mesh: 40 KB each from a site of 200 VMs. */
export const HURRY_DIGEST_MS = 2_000
/** VMs and jobs of one host that its sample names; at 250 bytes and 1 KiB each they leave room in GOSSIP_BYTES_MAX. */
export const SAMPLE_VMS_MAX = 128
export const SAMPLE_JOBS_MAX = 24
export const JOB_TEXT_MAX = 2_048
/** A publisher this long silent may have begun anew, with a clock that went back: what it says is news again. */
export const SILENCE_MS = 60_000
assert(STALE_MS < SILENCE_MS)

// Membership -----------------------------------------------------------------------------------------------------

/** SWIM's protocol period: one peer is probed in each. memberlist's and foca's constant. */
export const PROBE_MS = 1_000
/** What a direct answer may take: a 300 ms round trip, a lost packet's repetition, and a tick. */
export const PING_MS = 600
/** What a whole probe may take, the way through others included: two far round trips. Probes may overlap. */
export const PROBE_SPAN_MS = 2_000
assert(PING_MS * 2 < PROBE_SPAN_MS)
/** Peers asked to try when there is no direct answer. */
export const PROBE_RELAYS = 3
/** Probes under way at once; more wait for their turn. */
export const PROBES_MAX = 16
/** Probes made for others at once; more are declined. */
export const PROBES_FOR_OTHERS_MAX = 64
/** While there is something new, it goes to a few peers this often: known by 50 peers within 2 s. */
export const RUMOUR_MS = 300
export const RUMOUR_PEERS = 3
/** Peers that watch one peer closely: enough for two independent confirmations when one is lost and one is slow. */
export const WATCHERS = 5
/** Lifeguard's local health: 0 is well; timeouts are multiplied by one more than this. */
export const HEALTH_MAX = 7
/** An event loop this late may have missed answers that were here in time. */
export const LOOP_DELAY_MS = 200
/** A suspect has 4 periods times log10 of the mesh, at most 6 times that while nobody confirms. */
export const SUSPICION_PERIODS = 4
export const SUSPICION_STRETCH_MAX = 6
/** Independent confirmations that take a suspicion down to its shortest. */
export const CONFIRMATIONS_MAX = 2
assert(CONFIRMATIONS_MAX < WATCHERS)
/** Silence after which an unreachable peer is called lost: longer than a reboot with its firmware, shorter than a shift. */
export const LOST_MS = 3_600_000
/** Member updates that ride on one message: they fit in one packet. */
export const NEWS_MAX = 8
/** One message of membership: its news with two peer ids each, and room to grow. */
export const MEMBERSHIP_BYTES_MAX = 8 * 1024
