import { resolve } from 'node:path'
import type { GuestForward, GuestHandler } from './options/network.js'

/** What answers at an address that a guest connects to. */
export interface GuestForwardSpec {
  readonly address: string
  readonly port: number
  readonly answer:
    | { readonly command: string }
    | { readonly server: { readonly path: string } | { readonly host: string; readonly port: number } }
    | { readonly handler: GuestHandler }
}

export const FORWARD_ANSWERS = ['command', 'socket', 'tcp', 'handler'] as const

/** Splits `10.0.2.100:80`. */
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
  if (command !== undefined) return { ...at, answer: { command } }
  if (socket !== undefined) return { ...at, answer: { server: { path: resolve(socket) } } }
  if (handler !== undefined) return { ...at, answer: { handler } }
  return {
    ...at,
    answer: {
      server: typeof tcp === 'string' ? splitAddress(tcp) : { host: '127.0.0.1', port: tcp as number },
    },
  }
}
