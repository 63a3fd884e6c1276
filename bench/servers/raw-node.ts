// Below the floor: node:http alone parses one JSON body and answers one of the right shape.
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  let text = ''
  request.setEncoding('utf8')
  request.on('data', (chunk) => {
    text += chunk
  })
  request.on('end', () => {
    const { id, params } = JSON.parse(text)
    const output = { text: params.arguments.text }
    const content = [{ type: 'text', text: JSON.stringify(output) }]
    const body = JSON.stringify({
      jsonrpc: '2.0',
      id,
      result: { content, structuredContent: output },
    })
    response.writeHead(200, {
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    })
    response.end(body)
  })
})

server.listen(Number(process.env['PORT']), '127.0.0.1', () => console.log('listening'))
