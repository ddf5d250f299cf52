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

// Time -----------------------------------------------------------------------------------------------------------

/** Dialling a peer over a 300 ms link takes 6 round trips; a dead one must not hold anybody up. */
export const DIAL_MS_MAX = 5_000
/** A forwarded request: two seconds is what a refusal may take (DESIGN: refused in 2 s), plus one slow round trip. */
export const REQUEST_MS = 2_500
/** How long a proposal may wait for commitment before its asker is told. */
export const PROPOSE_MS = 2_000
/** Raft's tick. Four heartbeats fit in the shortest election timeout, so losing three in a row elects nobody. */
export const TICK_MS = 100
export const HEARTBEAT_TICKS = 5
export const ELECTION_TICKS = 20
assert(HEARTBEAT_TICKS * 4 <= ELECTION_TICKS)

// Agreement ------------------------------------------------------------------------------------------------------

/** One proposal. A VM spec is at most 32 KiB; a move carries one, with its disks. */
export const PROPOSAL_BYTES_MAX = 128 * 1024
/** Proposals that wait for commitment on one leader: back-pressure, not memory, is the answer to more. */
export const PROPOSALS_MAX = 1_024
/** Entries kept after the newest snapshot: a follower this far behind catches up from entries, others by snapshot. */
export const LOG_ENTRIES_KEPT = 1_024
/** Applied entries after which a snapshot is made. */
export const SNAPSHOT_EVERY_ENTRIES = 4_096
/** One part of a snapshot that goes over the wire. */
export const SNAPSHOT_PART_BYTES = 256 * 1024
assert(SNAPSHOT_PART_BYTES < MESSAGE_BYTES_MAX)
assert(PROPOSAL_BYTES_MAX * 2 < MESSAGE_BYTES_MAX)

// What a mesh holds ----------------------------------------------------------------------------------------------

export const PEERS_MAX = 16_384
export const SITES_MAX = 4_096
export const SITE_PEERS_MAX = 256
/** VMs of one site; its digest names the first DIGEST_VMS_MAX of them. */
export const SITE_VMS_MAX = 4_096
export const DIGEST_VMS_MAX = 200
/** Join tokens that are neither used nor expired. */
export const TOKENS_MAX = 256
export const NAME_LENGTH_MAX = 63
export const LABELS_MAX = 32
export const DISKS_MAX = 16
export const NICS_MAX = 8
export const SPEC_BYTES_MAX = 32 * 1024
assert(SPEC_BYTES_MAX * 2 < PROPOSAL_BYTES_MAX)
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
/** Its hashes are 2 GiB: what a manifest may make a peer set aside, whatever its chunk size. */
export const IMAGE_CHUNKS_MAX = IMAGE_BYTES_MAX / CHUNK_BYTES
/** Bytes asked of one peer and not yet here, until its bandwidth-delay product is known. */
export const IN_FLIGHT_BYTES_MIN = 1024 * 1024
export const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024
/** Peers that one download talks to at once. */
export const SOURCES_MAX = 32

// Observation ----------------------------------------------------------------------------------------------------

/** How often a host samples itself and tells its site. */
export const SAMPLE_MS = 5_000
/** How often a site's digest goes to the mesh. */
export const DIGEST_MS = 10_000
/** A value older than this is marked stale wherever it is shown. */
export const STALE_MS = 30_000
assert(DIGEST_MS * 2 < STALE_MS)
