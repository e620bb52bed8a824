import type { MachineSpec } from '../../spec/machine-spec.js'
import { CAPTURE } from '../../spec/netboot-spec.js'
import type { NetbootWiring } from '../command.js'
import { joinOption } from './join-option.js'

/** The name by which QEMU's monitor knows the network card of a guest that boots from it. */
export const NETWORK_CARD = 'card0'

type Served = Pick<MachineSpec, 'netboot'>

/** What QEMU's own servers give to the guest. Without a run, the folder is the author's own. */
export function serverOptions({ netboot: served }: Served, netboot: NetbootWiring | undefined) {
  if (served === undefined) return {}
  const { root, bootfile, tftpServerName, http } = served
  const command = netboot?.relayCommand
  return {
    tftp: netboot?.folder ?? root,
    'tftp-server-name': tftpServerName,
    bootfile,
    guestfwd: command && http && `tcp:${http.address}:${http.port}-cmd:${command}`,
  }
}

/** A place in the boot order that every firmware knows: `-boot order=` is for BIOS alone. HTTP boot is before all that has one. */
export function bootCardOptions(
  { netboot: served }: Served,
  netboot: NetbootWiring | undefined,
): { readonly id?: string; readonly bootindex?: number } {
  if (served === undefined) return {}
  const isFirst = netboot?.isFirst ?? served.isFirst
  return { id: NETWORK_CARD, ...(isFirst && served.httpBoot === undefined ? { bootindex: 0 } : {}) }
}

export function captureArgs(netboot: NetbootWiring | undefined): string[] {
  if (netboot === undefined) return []
  const { type, id, netdev, maxlen } = CAPTURE
  return ['-object', joinOption(type, { id, netdev, file: netboot.captureFile, maxlen })]
}
