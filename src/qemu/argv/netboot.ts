import type { MachineSpec } from '../../spec/machine-spec.js'
import { CAPTURE_FILTER } from '../../spec/netboot-spec.js'
import type { NetbootWiring } from '../command.js'
import { joinOption } from './join-option.js'

/** Device id of the network card from which a guest boots. */
export const NETWORK_CARD = 'card0'

type NetbootPart = Pick<MachineSpec, 'netboot'>

/**
 * Returns the options of QEMU's built-in servers. In the manual command line, the folder is the
 * author's `root`.
 */
export function serverOptions({ netboot: served }: NetbootPart, netboot: NetbootWiring | undefined) {
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

/**
 * Returns the boot index of the card, which all firmware supports; `-boot order=` is for BIOS only.
 * HTTP boot precedes all devices with a boot index.
 */
export function bootCardOptions(
  { netboot: served }: NetbootPart,
  netboot: NetbootWiring | undefined,
): { readonly id?: string; readonly bootindex?: number } {
  if (served === undefined) return {}
  const isFirst = netboot?.isFirst ?? served.isFirst
  return { id: NETWORK_CARD, ...(isFirst && served.httpBoot === undefined ? { bootindex: 0 } : {}) }
}

export function captureArgs(netboot: NetbootWiring | undefined): string[] {
  if (netboot === undefined) return []
  const { type, id, netdev, maxlen } = CAPTURE_FILTER
  return ['-object', joinOption(type, { id, netdev, file: netboot.captureFile, maxlen })]
}
