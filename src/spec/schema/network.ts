import { isIPv4 } from 'node:net'
import { z } from 'zod'
import type { GuestHandler } from '../options/network.js'
import { netbootSchema } from './netboot.js'
import { count, flag, isPort, isText, oneOf, path, port, required, rule, text, textLike } from './rules.js'

const address = () =>
  rule<string>("an IPv4 address such as '10.0.2.3'", (value) => typeof value === 'string' && isIPv4(value))

const isAddress = (value: unknown) => {
  const [host = '', port = '', ...rest] = typeof value === 'string' ? value.split(':') : []
  return isIPv4(host) && /^\d+$/.test(port) && isPort(Number(port)) && rest.length === 0
}

const guestForward = z.strictObject({
  address: required<string>("an address and a port such as '10.0.2.100:80'", isAddress),
  command: text('a command'),
  socket: path('a unix socket'),
  tcp: rule<number | string>("a port, or an address and a port such as '127.0.0.1:8080'", (value) => {
    return isPort(value) || isAddress(value)
  }),
  handler: rule<GuestHandler>('a function', (value) => typeof value === 'function'),
})

const card = z.strictObject({
  internet: flag(),
  model: textLike("a network card as QEMU names it, such as 'virtio-net-pci' or 'e1000'", /^[\w.-]+$/),
  id: textLike('a name of letters, digits, ., _ and -', /^[A-Za-z][\w.-]*$/),
  address: textLike("a PCI slot such as '0x10' or '10.1'", /^(0x)?[0-9a-f]{1,2}(\.[0-7])?$/i),
  vectors: count(0, 2048),
  mac: textLike("a MAC address such as '52:54:00:12:34:56'", /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i),
  bootIndex: count(1, 1000),
  hub: textLike('a name of letters, digits, ., _ and -', /^[A-Za-z0-9][\w.-]*$/),
  tap: textLike("an interface such as 'tap0'", /^[A-Za-z0-9][\w.-]{0,14}$/),
  tftp: path('a folder'),
  bootfile: text('a file name'),
  guestfwd: z
    .array(guestForward, { error: "a list such as [{ address: '10.0.2.100:80', tcp: 8080 }]" })
    .optional(),
  // QEMU writes the path into a line of Samba's configuration.
  smb: rule<string>('the path of a folder, on one line', (value) => isText(value) && !/[\r\n]/.test(value)),
  net: rule<string>("a network such as '10.0.2.0/24'", (value) => {
    const [base = '', bits = ''] = typeof value === 'string' ? value.split('/') : []
    return isIPv4(base) && /^\d+$/.test(bits) && Number(bits) >= 8 && Number(bits) <= 29
  }),
  host: address(),
  dhcpstart: address(),
  dns: address(),
  hostname: textLike("a host name, such as 'web-1'", /^[A-Za-z0-9][\w.-]*$/),
  domainname: textLike("a domain, such as 'example.org'", /^[A-Za-z0-9][\w.-]*$/),
  ipv6: flag(),
})

const hostForward = z.strictObject({
  guest: required<number>('a port, 1 to 65535', isPort),
  host: port(),
  protocol: oneOf('tcp', 'udp'),
  bind: rule<string>("an IPv4 address of this host, such as '127.0.0.1'", (value) => {
    return typeof value === 'string' && isIPv4(value)
  }),
})

/** Schema of the options for the network. */
export const networkRules = {
  netboot: netbootSchema.optional(),
  network: z.union([card, z.array(card).min(1, { error: 'at least one card' })]).optional(),
  hostfwd: z.array(hostForward, { error: 'a list such as [{ guest: 80 }]' }).optional(),
}
