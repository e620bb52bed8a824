import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { OPEN_PORTS, watchListeners } from '../support/loopback-watch.js'

test.skipIf(process.platform !== 'linux')(
  'the watch of the guest tests detects sockets that other hosts can reach',
  async () => {
    const listen = async (host: string, port: number) => {
      const server = createServer().listen(port, host)
      onTestFinished(() => void server.close())
      await once(server, 'listening')
      return (server.address() as AddressInfo).port
    }
    const stop = watchListeners([])
    const own = await listen('127.0.0.1', 0)
    const open = await listen('0.0.0.0', OPEN_PORTS.detected)
    const problems = stop()
    expect(problems.join('\n')).toContain(
      `tcp port ${open} is open to others than this host: process ${process.pid}`,
    )
    expect(problems.join('\n')).not.toContain(`port ${own} `)
  },
)
