/**
 * The client's side of one SSH key exchange, `mlkem768x25519-sha256`, up to the proof that the server has the same secret.
 *
 * Made from the standard and Node's cryptography, with nothing of ssh2 in it: what it proves of ssh2's side would not be
 * proved by ssh2 itself.
 *
 *     identification, KEXINIT    both ways
 *     C_INIT    ─▶               ML-KEM key (1184 bytes), X25519 key (32)
 *               ◀─   S_REPLY     host key, ML-KEM ciphertext (1088) and X25519 key (32), signature over all of it
 *
 * @see RFC 4253; draft-ietf-sshm-mlkem-hybrid-kex; FIPS 203
 */
const crypto = require("node:crypto")
const net = require("node:net")

const method = "mlkem768x25519-sha256"
const [keyBytes, ciphertextBytes, pointBytes] = [1184, 1088, 32]
const identification = "SSH-2.0-probe"

/** Before the keys of each kind, in DER. */
const prefixes = { x25519: "302a300506032b656e032100", ed25519: "302a300506032b6570032100" }

const word = (value) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const string = (value) => Buffer.concat([word(Buffer.byteLength(value)), Buffer.from(value)])

/** The strings that a message is made of, from an offset on. */
const strings = (bytes, offset) => {
  const found = []
  while (offset < bytes.length) {
    const length = bytes.readUInt32BE(offset)
    found.push(bytes.subarray(offset + 4, offset + 4 + length))
    offset += 4 + length
  }
  return found
}

const publicKey = (kind, raw) =>
  crypto.createPublicKey({ key: Buffer.concat([Buffer.from(prefixes[kind], "hex"), raw]), format: "der", type: "spki" })
const rawOf = (key, length) => key.export({ type: "spki", format: "der" }).subarray(-length)

/** Without encryption: length, padding, and whole blocks of eight. */
const packet = (payload) => {
  const padding = 8 - ((payload.length + 5) % 8) + (8 - ((payload.length + 5) % 8) < 4 ? 8 : 0)
  return Buffer.concat([word(payload.length + padding + 1), Buffer.from([padding]), payload, Buffer.alloc(padding)])
}

const kexinit = () => {
  const both = (algorithm) => [algorithm, algorithm]
  const lists = [
    method,
    "ssh-ed25519",
    ...both("aes128-gcm@openssh.com"),
    ...both("hmac-sha2-256"),
    ...both("none"),
    "",
    ""
  ]
  return Buffer.concat([Buffer.from([20]), crypto.randomBytes(16), ...lists.map(string), Buffer.alloc(5)])
}

/** What comes from the server, as asked for: a line first, then packets. Fails when the server has closed. */
const reader = (socket) => {
  let rest = Buffer.alloc(0)
  let closed = false
  let wake = () => {}
  socket.on("data", (bytes) => {
    rest = Buffer.concat([rest, bytes])
    wake()
  })
  socket.on("error", () => {})
  socket.on("close", () => {
    closed = true
    wake()
  })
  const take = async (count) => {
    while (rest.length < count()) {
      if (closed) throw new Error("the server has closed the connection")
      await new Promise((resolve) => (wake = resolve))
    }
    const length = count()
    const taken = rest.subarray(0, length)
    rest = rest.subarray(length)
    return taken
  }
  return {
    line: async () => {
      const bytes = await take(() => (rest.includes("\n") ? rest.indexOf("\n") + 1 : Infinity))
      return bytes.toString().trimEnd()
    },
    packet: async () => {
      const bytes = await take(() => (rest.length < 4 ? 4 : rest.readUInt32BE() + 4))
      if (bytes.length < 6) throw new Error("expected a packet, found its length alone")
      return bytes.subarray(5, bytes.length - bytes[4])
    }
  }
}

/**
 * Connects, exchanges keys and checks the host's signature, which is over the secret too. `change` may make something
 * else of what the client begins with. Gives the host's key and what else the server offers.
 */
const exchange = async ({ host, port, change = (init) => init }) => {
  const socket = net.connect({ host, port })
  try {
    const server = reader(socket)
    const mine = kexinit()
    socket.write(`${identification}\r\n`)
    const theirIdentification = await server.line()
    socket.write(packet(mine))
    const theirs = await server.packet()
    if (theirs[0] !== 20) throw new Error(`expected a KEXINIT, found message ${theirs[0]}`)
    const offered = strings(theirs.subarray(0, theirs.length - 5), 17)[0]
      .toString()
      .split(",")
    if (!offered.includes(method)) throw new Error(`expected ${method} to be offered, found ${offered}`)

    const kem = crypto.generateKeyPairSync("ml-kem-768")
    const dh = crypto.generateKeyPairSync("x25519")
    const init = change(Buffer.concat([rawOf(kem.publicKey, keyBytes), rawOf(dh.publicKey, pointBytes)]))
    socket.write(packet(Buffer.concat([Buffer.from([30]), string(init)])))
    const answer = await server.packet()
    if (answer[0] !== 31) throw new Error(`expected a reply to the exchange, found message ${answer[0]}`)
    const [hostKey, reply, signature] = strings(answer, 1)
    if (reply.length !== ciphertextBytes + pointBytes) {
      throw new Error(`expected a reply of ${ciphertextBytes + pointBytes} bytes, found ${reply.length}`)
    }
    const kemSecret = crypto.decapsulate(kem.privateKey, reply.subarray(0, ciphertextBytes))
    const dhSecret = crypto.diffieHellman({
      privateKey: dh.privateKey,
      publicKey: publicKey("x25519", reply.subarray(ciphertextBytes))
    })
    const secret = crypto.createHash("sha256").update(kemSecret).update(dhSecret).digest()
    const said = [identification, theirIdentification, mine, theirs, hostKey, init, reply, secret]
    const hash = crypto
      .createHash("sha256")
      .update(Buffer.concat(said.map(string)))
      .digest()
    const [, rawHostKey] = strings(hostKey, 0)
    const [, proof] = strings(signature, 0)
    if (!crypto.verify(null, hash, publicKey("ed25519", rawHostKey), proof)) {
      throw new Error("the server has another secret, or another key than it says")
    }
    return { hostKey: hostKey.toString("base64"), offered }
  } finally {
    socket.destroy()
  }
}

module.exports = { exchange, keyBytes, method, pointBytes }
