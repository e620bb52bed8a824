import { resolve } from 'node:path'
import type { GuestForward, GuestHandler } from './options/network.js'

/** Host service at an address of the guest's network. */
export interface GuestForwardSpec {
  readonly address: string
  readonly port: number
  readonly service:
    | { readonly command: string }
    | { readonly server: { readonly path: string } | { readonly host: string; readonly port: number } }
    | { readonly handler: GuestHandler }
}

export const FORWARD_SERVICES = ['command', 'socket', 'tcp', 'handler'] as const

/** Splits an address such as `10.0.2.100:80` into host and port. */
export function splitAddress(address: string): { readonly host: string; readonly port: number } {
  const [host = '', port] = address.split(':')
  return { host, port: Number(port) }
}

export function resolveGuestForward({
  address,
  command,
  socket,
  tcp,
  handler,
}: GuestForward): GuestForwardSpec {
  const { host, port } = splitAddress(address)
  const at = { address: host, port }
  if (command !== undefined) return { ...at, service: { command } }
  if (socket !== undefined) return { ...at, service: { server: { path: resolve(socket) } } }
  if (handler !== undefined) return { ...at, service: { handler } }
  return {
    ...at,
    service: {
      server: typeof tcp === 'string' ? splitAddress(tcp) : { host: '127.0.0.1', port: tcp as number },
    },
  }
}
