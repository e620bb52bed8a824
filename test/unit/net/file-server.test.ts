import { readdirSync, readlinkSync, truncateSync, writeFileSync } from 'node:fs'
import { request as send } from 'node:http'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { FileServer } from '../../../src/net/file-server.js'
import type { NetbootRequest } from '../../../src/net/netboot-request.js'
import { eventually } from '../../support/eventually.js'
import { ownTmpdir } from '../../support/own-tmpdir.js'
import { usedHeap } from '../../support/used-heap.js'

async function serve() {
  const folder = ownTmpdir()
  const socket = join(folder, 'http.sock')
  writeFileSync(join(folder, 'file'), '0123456789')
  const requests: NetbootRequest[] = []
  const server = await FileServer.listen({
    socket,
    find: async (path) => {
      if (path === '/made') return Buffer.from('made at once')
      return path === '/file' ? { path: join(folder, 'file') } : undefined
    },
    onRequest: (request) => void requests.push(request),
    onEnd: () => {},
  })
  onTestFinished(() => server.close())
  const get = (path: string, headers: Record<string, string> = {}, method = 'GET') =>
    new Promise<{
      status: number | undefined
      headers: Record<string, unknown>
      body: string
      isCut: boolean
    }>((resolve, reject) => {
      const sent = send({ socketPath: socket, path, headers, method, agent: false }, (response) => {
        let body = ''
        const end = (isCut: boolean) =>
          resolve({ status: response.statusCode, headers: response.headers, body, isCut })
        response.on('data', (chunk) => {
          body += chunk
        })
        response.on('end', () => end(false))
        response.on('error', () => end(true))
      })
      sent.on('error', reject)
      sent.end()
    })
  return { server, requests, get, socket, folder }
}

test('files and generated contents are sent completely', async () => {
  const { get, requests } = await serve()
  expect(await get('/file')).toMatchObject({
    status: 200,
    body: '0123456789',
    headers: { 'content-length': '10' },
  })
  expect(await get('/made')).toMatchObject({ status: 200, body: 'made at once' })
  expect(await get('/file?x=1', {}, 'HEAD')).toMatchObject({ status: 200, body: '' })
  expect(await get('/file', {}, 'POST')).toMatchObject({ status: 405 })
  expect(await get('/no%20such')).toMatchObject({ status: 404 })
  expect(requests.map(({ path, status, code, bytes }) => [path, status, code, bytes])).toEqual([
    ['/file', 'complete', 200, 10],
    ['/made', 'complete', 200, 12],
    ['/file', 'complete', 200, 0],
    ['/file', 'failed', 405, 0],
    ['/no such', 'not found', 404, 0],
  ])
})

test.each([
  ['bytes=2-4', 206, '234', 'bytes 2-4/10'],
  ['bytes=7-', 206, '789', 'bytes 7-9/10'],
  ['bytes=-2', 206, '89', 'bytes 8-9/10'],
  ['bytes=5-100', 206, '56789', 'bytes 5-9/10'],
  ['bytes=10-', 416, '', 'bytes */10'],
  ['lines=1-2', 200, '0123456789', undefined],
])('the range %s returns status %i', async (range, status, body, contentRange) => {
  const { get } = await serve()
  const answer = await get('/file', { range })
  expect([answer.status, answer.body, answer.headers['content-range']]).toEqual([status, body, contentRange])
})

test('an incomplete response closes its connection at once', async () => {
  const { server, socket } = await serve()
  server.setFault('file', { cutAfter: 4 })
  const connection = connect(socket)
  const startedAt = performance.now()
  connection.write('GET /file HTTP/1.1\r\nHost: guest\r\n\r\n')
  let received = ''
  for await (const piece of connection) received += piece
  expect(received).toMatch(/\r\n\r\n0123$/)
  // Node.js closes idle connections after 5 s.
  expect(performance.now() - startedAt).toBeLessThan(4000)
})

test('a fault applies to the given number of requests and can be removed', async () => {
  const { server, get, requests } = await serve()
  server.setFault('file', { status: 503, times: 1 })
  expect((await get('/file')).status).toBe(503)
  expect((await get('/file')).status).toBe(200)
  server.setFault('/file', { cutAfter: 4 })
  expect(await get('/file')).toMatchObject({ status: 200, body: '0123', isCut: true })
  server.setFault('file', { contentLength: 100 })
  expect(await get('/file')).toMatchObject({ body: '0123456789', isCut: true })
  server.setFault('file')
  expect(await get('/file')).toMatchObject({ body: '0123456789', isCut: false })
  await eventually(() =>
    expect(requests.map(({ status }) => status)).toEqual([
      'failed',
      'complete',
      'failed',
      'failed',
      'complete',
    ]),
  )
})

test('a file with a limited rate is sent completely', async () => {
  const { server, get } = await serve()
  server.setFault('file', { delay: 20, bytesPerSecond: 500 })
  expect(await get('/file')).toMatchObject({ body: '0123456789', isCut: false })
})

test('requests that are not HTTP, and connections above the limit, are counted and closed', async () => {
  const { server, get, socket } = await serve()
  const open = () => connect(socket).on('error', () => {})
  const isClosed = (connection: Socket) =>
    new Promise((resolve) => connection.resume().once('close', resolve))
  const bad = open()
  bad.end('\0\0 this is no HTTP\r\n\r\n')
  await isClosed(bad)
  expect(server.malformed).toBe(1)
  const idle = Array.from({ length: 64 }, open)
  await Promise.all(idle.map((connection) => new Promise((resolve) => connection.once('connect', resolve))))
  await isClosed(open())
  expect(server.refused).toBe(1)
  for (const connection of idle) connection.destroy()
  await eventually(async () => expect((await get('/file')).status).toBe(200))
})

test('requests on one connection are answered in order, one at a time, and more than 16 close it', async () => {
  const { server, get, socket, requests, folder } = await serve()
  truncateSync(join(folder, 'file'), 4 * 1024 ** 2)
  const send = (count: number, path = '/file') => {
    const connection = connect(socket).on('error', () => {})
    connection.pause().write(`GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(count))
    return connection
  }
  const unread = send(16)
  await eventually(() => expect(requests).toHaveLength(1))
  await sleep(300)
  expect(requests.map(({ status }) => status)).toEqual(['pending'])
  expect(countOpen(join(folder, 'file'))).toBe(1)
  let received = 0
  unread.resume().on('data', (bytes) => {
    received += bytes.length
  })
  await eventually(() => expect(requests.map(({ status }) => status)).toEqual(Array(16).fill('complete')))
  await eventually(() => expect(received).toBeGreaterThan(16 * 4 * 1024 ** 2))
  unread.destroy()

  await new Promise((resolve) => send(2000).resume().once('close', resolve))
  expect(server.refused).toBe(1)
  await eventually(() => expect(countOpen(join(folder, 'file'))).toBe(0))
  expect((await get('/made')).body).toBe('made at once')
  expect(requests.length).toBeLessThanOrEqual(18)
})

/** Number of descriptors of this process for a file. */
function countOpen(path: string): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // closed in the meantime
    }
  })
  return links.filter((link) => link === path).length
}

test('a recorded request keeps only the shown part of its path in memory', async () => {
  const { get, requests } = await serve()
  await get('/first')
  const before = usedHeap()
  for (let count = 0; count < 1500; count++) await get(`/${String(count).padEnd(15_000, 'x')}`)
  expect(requests).toHaveLength(1501)
  expect(requests.at(-1)?.path).toHaveLength(4096)
  // 1500 paths take 6 MiB at 4 KiB each, and 21 MiB at 15 kB each.
  expect(usedHeap() - before).toBeLessThan(14 * 1024 ** 2)
}, 60_000)
