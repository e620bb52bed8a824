import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, onTestFinished } from 'vitest'
import { eventually } from '../support/eventually.js'
import { guestTest } from '../support/guest-test.js'
import { rejection } from '../support/messages.js'
import { udpEchoProgram } from '../support/udp-echo.js'

const tftp = await mkdtemp(join(tmpdir(), 'tftp,-'))
afterAll(() => rm(tftp, { recursive: true }))
await writeFile(join(tftp, 'hello.txt'), 'hello over TFTP\n'.repeat(1000))

const test = guestTest({
  image: 'tiny',
  hostfwd: [{ guest: 80 }, { guest: 9 }],
  network: { tftp },
})

const openTest = guestTest({
  image: 'tiny',
  hostfwd: [{ guest: 7, protocol: 'udp' }],
  network: { internet: true },
})

/** Starts a web server that listens only on the loopback address of this host. Returns its port. */
async function serveOnHost(): Promise<number> {
  const server = createServer((_, response) => response.end('from the host'))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

const fetchFromGuest = (port: number) => `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 10.0.2.2 ${port}`

describe('a forwarded port', () => {
  test('a forwarded port connects to a server in the guest', async ({ vm }) => {
    await vm.ssh`mkdir -p /srv/web && echo served >/srv/web/index.html && httpd -p 80 -h /srv/web`
    expect(vm.url(80)).toBe(`http://127.0.0.1:${vm.hostPort(80)}/`)
    expect(vm.url(80, 'a/b', 'https')).toBe(`https://127.0.0.1:${vm.hostPort(80)}/a/b`)
    expect(await (await fetch(vm.url(80))).text()).toBe('served\n')
    expect((await fetch(vm.url(80, '/absent'))).status).toBe(404)
  })

  test('a connection to a forwarded port without a server in the guest is closed at once', async ({ vm }) => {
    await expect(fetch(vm.url(9))).rejects.toThrow('fetch failed')
  })

  test('forwarded ports listen only on 127.0.0.1', async ({ vm }) => {
    const usernet = await vm.qmp.execute('human-monitor-command', { 'command-line': 'info usernet' })
    const listening = usernet.split('\n').filter((line) => line.includes('HOST_FORWARD'))
    expect(listening).toHaveLength(3)
    for (const line of listening) expect(line).toMatch(/ 127\.0\.0\.1 /)
  })

  test('hostPort() of a port that is not forwarded throws with a hint', async ({ vm }) => {
    expect((await rejection((async () => vm.hostPort(8080))())).message).toBe(
      [
        'The tcp port 8080 of the guest is not forwarded.',
        '  Expected: one of tcp 22, tcp 80, tcp 9',
        '  Got:      tcp 8080',
        'Fix: Add { guest: 8080 } to `hostfwd`.',
      ].join('\n'),
    )
    expect(() => vm.hostPort(80, 'udp')).toThrow("Add { guest: 80, protocol: 'udp' } to `hostfwd`")
    expect(() => vm.url(443)).toThrow('The tcp port 443 of the guest is not forwarded.')
  })
})

describe('a guest', () => {
  test('a guest reaches neither the host nor the internet by default', async ({ vm }) => {
    const port = await serveOnHost()
    expect(await vm.ssh(fetchFromGuest(port), { reject: false, timeout: '20s' })).toMatchObject({
      stdout: '',
    })
    const outside = await vm.ssh('nc -w 2 192.0.2.1 80 </dev/null', { reject: false, timeout: '20s' })
    expect(outside.exitCode).not.toBe(0)
  })

  test('a guest fetches files over TFTP from the folder of `network.tftp`', async ({ vm }) => {
    const { stdout } = await vm.ssh`cd /tmp && tftp -g -r hello.txt 10.0.2.2 && cat hello.txt`
    expect(stdout).toBe('hello over TFTP\n'.repeat(1000).trimEnd())
    const absent = await vm.ssh('cd /tmp && tftp -g -r absent.txt 10.0.2.2', { reject: false })
    expect(absent.exitCode).not.toBe(0)
    expect(absent.stderr).toContain('File not found')
  })
})

describe('a guest with `internet: true`', () => {
  openTest('a guest with `internet: true` reaches servers of the host', async ({ vm }) => {
    const port = await serveOnHost()
    expect((await vm.ssh(fetchFromGuest(port), { timeout: '20s' })).stdout).toMatch(/from the host$/)
  })

  openTest('a guest replies to datagrams through a forwarded UDP port', async ({ vm }) => {
    const socket = createSocket('udp4')
    onTestFinished(() => void socket.close())
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const program = udpEchoProgram(7, { address: '10.0.2.2', port: socket.address().port })
    await vm.ssh('cat >/root/echo; chmod +x /root/echo; (/root/echo >/dev/null 2>&1 &)', { stdin: program })
    const replies: string[] = []
    socket.on('message', (message) => replies.push(message.toString()))
    await eventually(() => {
      socket.send('ping', vm.hostPort(7, 'udp'), '127.0.0.1')
      expect(replies).toContain('ping')
    })
  })
})
