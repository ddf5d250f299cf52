/**
 * Join tokens and the door. A token's secret is shown once and kept nowhere; its hash is agreed on by the mesh group,
 * which admits a peer once for it. The issuer's door is open until the last of its tokens expires: who comes with one
 * that was used or revoked is told so, and a peer whose answer was lost is told again.
 */
import { ENDED_TOKENS } from '../protocols/features.ts'
import type { PeerId } from '../protocols/ids.ts'
import { newSiteId, newUlid } from '../protocols/ids.ts'
import type { JoinHello, JoinWelcome } from '../protocols/join/messages.ts'
import { encodeToken } from '../protocols/join/token.ts'
import { type Done, ok, type Outcome } from '../protocols/outcome.ts'
import type { Admission } from './catalog/mesh.ts'
import type { Context } from './context.ts'
import type { Params } from './operations.ts'
import { showTokens } from './show.ts'
import { caughtUp } from './groups.ts'
import { find } from './lookup.ts'
import type { TokenView } from './views.ts'

export function tokenHandlers(context: () => Context): Record<string, unknown> {
  return {
    'token.create': (params: Params<'token.create'>, done: Done<unknown>) =>
      createToken(context(), params, done),
    'token.list': (_: unknown, done: Done<unknown>) => done(ok(showTokens(context()))),
    'token.revoke': ({ name }: Params<'token.revoke'>, done: Done<unknown>) => {
      const here = revocable(context(), name)
      if (here.ok) return revoke(context(), here.value, done)
      // It may have been made a moment ago, with this peer's own help: its copy follows the log.
      caughtUp(context(), 'mesh', (outcome) => {
        const there = outcome.ok ? revocable(context(), name) : here
        if (!there.ok) return done(there)
        revoke(context(), there.value, done)
      })
    },
  }
}

const revocable = (context: Context, typed: string): Outcome<TokenView> => {
  const tokens = showTokens(context)
  const found = find(
    'token',
    typed,
    tokens.map(({ id }) => ({ id, name: id, site: '' })),
    '',
  )
  return found.ok ? ok(tokens.find(({ id }) => id === found.value.id) as TokenView) : found
}

function revoke({ agreement }: Context, token: TokenView, done: Done<unknown>): void {
  agreement.proposeMesh({ kind: 'token-revoke', id: token.id }, (outcome) =>
    done(outcome.ok ? ok({ ...token, state: token.state === 'open' ? 'revoked' : token.state }) : outcome),
  )
}

function createToken(
  context: Context,
  { site, expiryMs }: Params<'token.create'>,
  done: Done<unknown>,
): void {
  const { agreement, config, ports } = context
  const nowMs = ports.clock.wallMs()
  const id = newUlid(nowMs, ports.dice)
  const secret = ports.secrets.make()
  const expiresMs = nowMs + expiryMs
  const { mesh, peer: issuer } = config.identity
  const command = {
    kind: 'token-create' as const,
    id,
    secretHash: ports.secrets.hash(secret),
    siteName: site,
    expiresMs,
    nowMs,
    issuer,
    ...(agreement.mesh.level >= ENDED_TOKENS && { makesRoom: true }),
  }
  agreement.proposeMesh(command, (outcome) => {
    if (!outcome.ok) return done(outcome)
    // The token names the door's addresses, which are known once it is open.
    ports.door.open(admit(context), (opened) => {
      // Nobody was told its secret, so nobody can use it; revoked, it does not stand in the list as if somebody could.
      if (!opened.ok) return agreement.proposeMesh({ kind: 'token-revoke', id }, () => done(opened))
      const token = encodeToken({
        mesh,
        id,
        secret,
        issuer,
        addresses: ports.door.addresses(),
        expiresMs,
        ...(site !== '' && { site }),
      })
      done(ok({ token, id, expiresAt: new Date(expiresMs).toISOString() }))
    })
  })
}

/** Opens or closes the door as the expiry of this peer's tokens says; called when agreed state or time has moved on. */
export function mindDoor(context: Context): void {
  const { agreement, config, ports } = context
  const { peers, tokens } = agreement.mesh.state
  // A removed peer admits nobody.
  const isPeer = peers[config.identity.peer] !== undefined
  const open =
    isPeer &&
    Object.values(tokens).some(
      (token) => token.issuer === config.identity.peer && token.expiresMs > ports.clock.wallMs(),
    )
  if (open) ports.door.open(admit(context), () => {})
  else ports.door.close()
}

const admit =
  (context: Context) =>
  (from: PeerId, hello: JoinHello, reply: Done<JoinWelcome>): void => {
    const { agreement, ports } = context
    const command = {
      kind: 'admit' as const,
      tokenId: hello.tokenId,
      secretHash: ports.secrets.hash(hello.secret),
      nowMs: ports.clock.wallMs(),
      peer: from,
      peerName: hello.name,
      siteName: hello.site,
      newSite: newSiteId(ports.dice),
      addresses: hello.addresses,
    }
    agreement.proposeMesh(command, (outcome) => {
      if (!outcome.ok) return reply(outcome)
      const admission = outcome.value as Admission
      const { peers, sites } = agreement.mesh.state
      reply(
        ok({
          meshId: admission.mesh,
          siteId: admission.site,
          founder: admission.founder,
          peers: Object.values(peers).map(({ id, name, site, addresses }) => ({
            id,
            name,
            site: sites[site]?.name ?? site,
            addresses,
          })),
        }),
      )
    })
  }
