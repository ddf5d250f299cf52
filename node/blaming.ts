/**
 * The transport as the conversations of this peer see it: what a handler throws on purpose is the sender's fault, is
 * counted, and costs the sender.
 */
import { GodwitError } from '../protocols/errors.ts'
import { failed } from '../protocols/outcome.ts'
import type { Service, Transport } from '../protocols/transport.ts'
import type { Counts } from './figures.ts'

/** A frame that a decoder refuses costs its sender, not us; a reply that cannot be made is the asker's failure. */
export function blaming(transport: Transport, counts: Counts): Transport {
  /** What the handler threw on purpose, if it did. */
  const took = (from: string, protocol: string, handle: () => void): GodwitError | undefined => {
    try {
      handle()
      return undefined
    } catch (error) {
      if (!(error instanceof GodwitError)) throw error
      counts.badFrame(protocol)
      transport.blame(from, error.message)
      return error
    }
  }
  return {
    self: transport.self,
    send: (to, protocol, frame, options) => transport.send(to, protocol, frame, options),
    request: (to, protocol, frame, timeoutMs, done) =>
      transport.request(to, protocol, frame, timeoutMs, done),
    open: (to, protocol, done) => transport.open(to, protocol, done),
    allow: (peers) => transport.allow(peers),
    part: (protocol, farewells) => transport.part(protocol, farewells),
    shape: (caps) => transport.shape(caps),
    connected: () => transport.connected(),
    watch: (handler) => transport.watch(handler),
    rttMs: (peer) => transport.rttMs(peer),
    path: (peer) => transport.path(peer),
    addresses: () => transport.addresses(),
    blame: (peer, why) => transport.blame(peer, why),
    serve(protocol, service) {
      const { frame, request, channel } = service
      const wrapped: Service = {
        ...(frame && { frame: (from, bytes) => void took(from, protocol, () => frame(from, bytes)) }),
        ...(channel && { channel: (from, each) => void took(from, protocol, () => channel(from, each)) }),
        ...(request && {
          request: (from, bytes, reply) => {
            const error = took(from, protocol, () => request(from, bytes, reply))
            if (error !== undefined) reply(failed(error.failure))
          },
        }),
      }
      transport.serve(protocol, wrapped)
    },
  }
}
