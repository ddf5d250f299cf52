/**
 * From what a person typed to an image, in every catalog that the mesh can see: the own site's, copies of other sites' logs that
 * are kept here, then what peers of other sites say. `site/name` looks at one of them.
 */
import { z } from 'zod'
import type { ImageId, PeerId } from '../protocols/ids.ts'
import { type Done, failed, ok, type Outcome } from '../protocols/outcome.ts'
import { peersOfSite } from './catalog/mesh.ts'
import type { SiteImage } from './catalog/site.ts'
import type { Context } from './context.ts'
import { siteGroupOf } from './founding.ts'
import { withCurrent } from './groups.ts'

export type FoundImage = {
  readonly image: ImageId
  /** As its site calls it; empty for one that no catalog in sight names. */
  readonly name: string
  readonly site: string
  /** 0 while not known. */
  readonly bytes: number
  readonly dataBytes: number
}

/** A person waits: who has not answered by then is not waited for. */
const FIND_MS = 2_000
/** Other sites that are asked, and peers of each, at once. */
const SITES_MAX = 64
const OF_A_SITE = 2
const CHOICES_MAX = 8
const PREFIX_MIN = 4
/** What ids.ts asks of a name. */
export const IMAGE_NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/
const ID = /^[0-9a-f]{64}$/

const imageSchema = z.object({
  image: z.string().regex(ID),
  name: z.string(),
  bytes: z.number(),
  dataBytes: z.number(),
})
type Said = z.infer<typeof imageSchema>

/** By its name, its id, or the unique beginning of that. */
export function imagesNamed(images: Readonly<Record<string, SiteImage>>, typed: string): SiteImage[] {
  const named = Object.hasOwn(images, typed) ? images[typed] : undefined
  if (named !== undefined) return [named]
  return Object.values(images).filter(
    ({ image }) => image === typed || (typed.length >= PREFIX_MIN && image.startsWith(typed)),
  )
}

/** NOT_FOUND once all have answered, PEER_UNREACHABLE while somebody has not who may know it; AMBIGUOUS with choices. */
export function findAnywhere(context: Context, typed: string, done: Done<FoundImage>): void {
  const { agreement, config, copies } = context
  const { identity } = config
  const slash = typed.indexOf('/')
  const [siteName, name] = slash < 0 ? [undefined, typed] : [typed.slice(0, slash), typed.slice(slash + 1)]
  const isOwn = siteName === undefined || siteName === identity.siteName
  const own = (): FoundImage[] =>
    isOwn ? imagesNamed(agreement.site.state.images, name).map(at(identity.siteName)) : []
  const here = own()
  if (here.length > 0) return done(chosen(typed, here))
  const others = Object.values(agreement.mesh.state.sites).filter(
    (site) => site.id !== identity.site && (siteName === undefined || site.name === siteName),
  )
  const kept = others.flatMap((site) => {
    const copy = copies.get(siteGroupOf({ siteName: site.name }))
    return copy === undefined ? [] : imagesNamed(copy.state.images, name).map(at(site.name))
  })
  if (kept.length > 0) return done(chosen(typed, kept))
  askSites(context, others.slice(0, SITES_MAX), name, (found, silent) => {
    if (found.length > 0) return done(chosen(typed, found))
    // Whole, an id needs no catalog: whoever holds the image will say so.
    if (ID.test(name)) return done(ok({ image: name, name: '', site: '', bytes: 0, dataBytes: 0 }))
    // What was named a moment ago, with this peer's own help or another's, may not be in its copy yet.
    withCurrent(context, isOwn ? ['site'] : [], () => {
      const late = own()
      if (late.length > 0) return done(chosen(typed, late))
      done(
        silent.length > 0
          ? failed({ code: 'PEER_UNREACHABLE', peer: silent.join(', '), afterMs: FIND_MS })
          : failed({ code: 'NOT_FOUND', what: 'image', name: typed }),
      )
    })
  })
}

function askSites(
  context: Context,
  sites: readonly { readonly id: string; readonly name: string }[],
  name: string,
  done: (found: FoundImage[], silent: string[]) => void,
): void {
  const found: FoundImage[] = []
  const silent: string[] = []
  let waiting = sites.length
  if (waiting === 0) return done(found, silent)
  for (const site of sites)
    askSite(context, site.id, name, (images) => {
      if (images === undefined) silent.push(site.name)
      else found.push(...images.map(at(site.name)))
      if (--waiting === 0) done(found, silent)
    })
}

/** The first answer of a peer of that site; undefined when none comes. */
function askSite(
  { agreement, asking, ports }: Context,
  site: string,
  name: string,
  done: (images: Said[] | undefined) => void,
): void {
  const connected = new Set(ports.transport.connected())
  const peers = peersOfSite(agreement.mesh.state, site)
    .toSorted((a, b) => Number(connected.has(b)) - Number(connected.has(a)))
    .slice(0, OF_A_SITE)
  let waiting = peers.length
  let told = false
  const tell = (images: Said[] | undefined): void => {
    waiting--
    if (told || (images === undefined && waiting > 0)) return
    told = true
    done(images)
  }
  if (waiting === 0) return done([])
  for (const peer of peers) askPeer(asking, peer, name, tell)
}

function askPeer(
  asking: Context['asking'],
  peer: PeerId,
  name: string,
  tell: (images: Said[] | undefined) => void,
): void {
  asking.there(
    peer,
    'image.find',
    { name },
    (outcome) => {
      if (outcome.ok) return tell(z.array(imageSchema).safeParse(outcome.value).data)
      if (outcome.failure.code !== 'UNSUPPORTED') return tell(undefined)
      // A version before that question.
      asking.there(
        peer,
        'image.show',
        { name },
        (shown) => {
          if (!shown.ok) return tell(shown.failure.code === 'NOT_FOUND' ? [] : undefined)
          const image = imageSchema.safeParse({
            ...(shown.value as object),
            image: (shown.value as { id?: unknown }).id,
          })
          tell(image.data === undefined ? undefined : [image.data])
        },
        0,
        FIND_MS,
      )
    },
    0,
    FIND_MS,
  )
}

const at =
  (site: string) =>
  ({ image, name, bytes, dataBytes }: Omit<FoundImage, 'site'>): FoundImage => ({
    image,
    name,
    site,
    bytes,
    dataBytes,
  })

function chosen(typed: string, found: readonly FoundImage[]): Outcome<FoundImage> {
  const [first] = found
  if (first !== undefined && found.every(({ image }) => image === first.image)) return ok(first)
  const choices = found.slice(0, CHOICES_MAX).map(({ name, site }) => `${site}/${name}`)
  return failed({ code: 'AMBIGUOUS', what: 'image', name: typed, choices })
}
