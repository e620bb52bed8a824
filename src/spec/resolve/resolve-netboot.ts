import { resolve } from 'node:path'
import type { NetbootHttp, NetbootOptions } from '../netboot.js'
import type { NetbootSpec } from '../netboot-spec.js'
import type { VMOptions } from '../options.js'
import { listNetworks } from './resolve-network.js'

/**
 * Host part of the HTTP server's address, after those of QEMU's own services (.2, .3) and DHCP
 * leases (sixteen from .15 on).
 */
const HTTP_HOST = 80
const DEFAULT_NET = '10.0.2.0/24'
const HTTP_PORT = 80

/** Returns the network boot of the guest, or undefined if nothing is served. */
export function resolveNetboot(options: VMOptions): NetbootSpec | undefined {
  const { netboot, boot } = options
  const [card] = listNetworks(options)
  const isFirst = boot === undefined && card?.bootIndex === undefined
  if (netboot !== undefined) return { ...resolveServed(netboot, card?.net), isFirst }
  if (card?.tftp === undefined) return undefined
  return { ...resolveServed({ root: card.tftp, bootfile: card.bootfile }, card.net), isFirst: false }
}

function resolveServed(
  options: { [K in keyof NetbootOptions]: NetbootOptions[K] | undefined },
  net: string | undefined,
) {
  const { root, trees = [], files = {}, bootfile, tftpServerName, httpBoot, once = false } = options
  const { http = httpBoot !== undefined && !isUrl(httpBoot) } = options
  const server = http === false ? undefined : resolveHttp(http === true ? {} : http, net)
  return {
    root: root === undefined ? undefined : resolve(root),
    trees,
    files,
    bootfile,
    tftpServerName,
    http: server,
    httpBoot:
      httpBoot === undefined || server === undefined || isUrl(httpBoot) ? httpBoot : urlOf(server, httpBoot),
    once,
  }
}

function resolveHttp({ address, port = HTTP_PORT, faults = {} }: NetbootHttp, net: string | undefined) {
  return { address: address ?? addressIn(net), port, faults }
}

function isUrl(text: string): boolean {
  return /^https?:/.test(text)
}

/** Returns the URL of a served file, as seen by the guest. */
export function urlOf(
  { address, port }: { readonly address: string; readonly port: number },
  path = '',
): string {
  const name = path.replace(/^\/+/, '')
  return `http://${address}${port === HTTP_PORT ? '' : `:${port}`}${name === '' ? '' : `/${name}`}`
}

function addressIn(net = DEFAULT_NET): string {
  return net.replace(/\.\d+\/\d+$/, `.${HTTP_HOST}`)
}
