/** How images, where they are and what they would cost look as a table. */
import type { ImageView, KeptView, LocationView, PinView, PlanView, PruneItem } from '../../views.ts'
import { humanBytes, humanShare, humanTime } from '../human.ts'
import { age, list, mark, rtt, type View, view } from './column.ts'

/** By kind, as in an envelope. */
export const IMAGES: Readonly<Record<string, View>> = {
  image: view<ImageView>({
    name: ({ name }) => name,
    columns: [
      { key: 'name', value: (v) => v.name },
      { key: 'id', value: (v) => v.id, text: (v) => v.id.slice(0, 12) },
      { key: 'size', right: true, value: (v) => v.bytes, text: (v) => humanBytes(v.bytes) },
      { key: 'data', right: true, value: (v) => v.dataBytes, text: (v) => humanBytes(v.dataBytes) },
      {
        key: 'here',
        right: true,
        value: (v) => v.chunks - v.missing,
        text: (v) =>
          v.missing === 0 && v.chunks > 0
            ? 'all'
            : humanShare((v.chunks - v.missing) / Math.max(1, v.chunks)),
      },
      { key: 'held', right: true, value: (v) => v.heldBytes, text: (v) => humanBytes(v.heldBytes) },
      { key: 'pinned', value: (v) => v.pinned, text: (v) => (v.pinned ? 'yes' : 'no') },
      { key: 'used-by', value: (v) => list(v.usedBy) },
      age,
      { key: 'chunks', wide: true, right: true, value: (v) => v.chunks },
      { key: 'missing', wide: true, right: true, value: (v) => v.missing },
      { key: 'site', wide: true, value: (v) => v.site },
      { key: 'kept-for', wide: true, value: (v) => list(v.kept) },
      {
        key: 'published',
        wide: true,
        value: (v) => list(v.published.map(({ address, infoHash }) => `${infoHash}@${address}`)),
      },
    ],
  }),
  'image-location': view<LocationView>({
    name: ({ peer }) => peer,
    columns: [
      { key: 'peer', value: (v) => v.peer, text: (v) => (v.self ? `${v.peer} *` : v.peer) },
      { key: 'site', value: (v) => v.site },
      { key: 'near', value: (v) => v.near, text: (v) => (v.near ? 'near' : 'far') },
      { key: 'holds', value: (v) => v.holds, text: (v) => mark(v.holds, v) },
      { key: 'share', right: true, value: (v) => v.share, text: (v) => humanShare(v.share) },
      { key: 'chunks', right: true, value: (v) => v.chunks },
      { key: 'stored', right: true, value: (v) => v.storedBytes, text: (v) => humanBytes(v.storedBytes) },
      age,
      { key: 'why', value: (v) => v.why },
      { ...rtt, wide: true },
      { key: 'manifest', wide: true, value: (v) => v.manifest, text: (v) => (v.manifest ? 'yes' : 'no') },
      { key: 'of', wide: true, right: true, value: (v) => v.of },
    ],
  }),
  'image-plan': view<PlanView>({
    name: ({ name, id }) => name || id,
    columns: [
      { key: 'image', value: (v) => v.name || v.id },
      { key: 'size', right: true, value: (v) => v.bytes, text: (v) => humanBytes(v.bytes) },
      { key: 'to-fetch', right: true, value: (v) => v.contentBytes, text: (v) => humanBytes(v.contentBytes) },
      { key: 'stored', right: true, value: (v) => v.storedBytes, text: (v) => humanBytes(v.storedBytes) },
      { key: 'wire', right: true, value: (v) => v.wireBytes, text: (v) => humanBytes(v.wireBytes) },
      { key: 'chunks', right: true, value: (v) => v.chunks },
      { key: 'nowhere', right: true, value: (v) => v.nowhere },
    ],
    more: ({ links, silent, unable, manifestBytes }) => ({
      links: Object.fromEntries(
        links.map(({ near, peers, site, wireBytes, wireBytesMax, wireBytesMin }) => [
          site,
          `${humanBytes(wireBytes)} from ${peers} ${peers === 1 ? 'peer' : 'peers'}, ${near ? 'near' : 'far'}` +
            (wireBytesMax > wireBytesMin
              ? ` (${humanBytes(wireBytesMin)} to ${humanBytes(wireBytesMax)})`
              : ''),
        ]),
      ),
      ...(silent.length > 0 && { silent }),
      ...(unable.length > 0 && { unable }),
      ...(manifestBytes > 0 && { manifest: `${humanBytes(manifestBytes)} came to say this, and stay` }),
    }),
  }),
  'image-pin': view<PinView>({
    name: ({ name, image }) => name || image,
    columns: [
      { key: 'image', value: (v) => v.name || v.image },
      { key: 'peer', value: (v) => v.peer },
      { key: 'pinned', value: (v) => v.pinned, text: (v) => (v.pinned ? 'yes' : 'no') },
      { key: 'chunks', right: true, value: (v) => v.chunks },
      { key: 'missing', right: true, value: (v) => v.missing },
    ],
  }),
  'image-unpublished': view<{ id: string; name: string }>({
    name: ({ name }) => name,
    columns: [
      { key: 'name', value: (v) => v.name },
      { key: 'id', value: (v) => v.id },
    ],
  }),
  'kept-copy': view<KeptView>({
    name: ({ name }) => name,
    columns: [
      { key: 'vm', value: (v) => v.vm },
      { key: 'since', value: (v) => v.since, text: (v, nowMs) => humanTime(v.since, nowMs) },
      { key: 'bytes', right: true, value: (v) => v.bytes, text: (v) => humanBytes(v.bytes) },
      { key: 'elsewhere', value: (v) => v.elsewhere, text: (v) => v.elsewhere || 'not known: it stays' },
      {
        key: 'images',
        value: (v) => list(v.images),
        text: (v) => list(v.images.map((id) => id.slice(0, 12))),
      },
      { key: 'name', wide: true, value: (v) => v.name },
    ],
  }),
  'prune-item': view<PruneItem>({
    name: ({ name, id }) => name || id,
    columns: [
      { key: 'kind', value: (v) => v.kind },
      { key: 'name', value: (v) => v.name || v.id.slice(0, 12) },
      { key: 'bytes', right: true, value: (v) => v.bytes, text: (v) => humanBytes(v.bytes) },
      { key: 'goes', value: (v) => v.drops, text: (v) => (v.drops ? 'goes' : 'stays') },
      { key: 'why', value: (v) => v.why },
      { key: 'id', wide: true, value: (v) => v.id },
    ],
  }),
}
