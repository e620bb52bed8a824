import { resolve } from 'node:path'
import { describeArch, type GuestArch } from '../architectures.js'
import { resolveGuestForward } from '../guest-forward.js'
import type { NetworkSpec } from '../machine-spec.js'
import type { NetworkOptionGroup, NetworkOptions } from '../options/network.js'

/** Returns the network cards as a list. */
export function listNetworks({ network }: Pick<NetworkOptionGroup, 'network'>): readonly NetworkOptions[] {
  if (network === undefined) return []
  return Array.isArray(network) ? network : [network as NetworkOptions]
}

/** Each card has its own network, so each has its own address range. */
export function resolveNetwork(arch: GuestArch, options: NetworkOptions = {}, index = 0): NetworkSpec {
  return {
    model: options.model ?? describeArch(arch).card.model,
    id: options.id,
    address: options.address,
    vectors: options.vectors,
    mac: options.mac,
    bootIndex: options.bootIndex,
    link:
      options.tap === undefined
        ? options.hub === undefined
          ? undefined
          : { hub: options.hub }
        : { tap: options.tap },
    internet: options.internet ?? false,
    guestForwards: (options.guestfwd ?? []).map(resolveGuestForward),
    sharedFolder: options.smb === undefined ? undefined : resolve(options.smb),
    tftp: options.tftp === undefined ? undefined : resolve(options.tftp),
    bootfile: options.bootfile,
    addresses: {
      net: options.net ?? (index === 0 ? undefined : `10.0.${index + 2}.0/24`),
      host: options.host,
      dhcpstart: options.dhcpstart,
      dns: options.dns,
      hostname: options.hostname,
      domainname: options.domainname,
      ipv6: options.ipv6 === false ? 'off' : undefined,
    },
  }
}
