/**
 * Proves ssh2 as it was patched and built, on Node 24: what the binding encrypts, JavaScript decrypts, and the other way
 * round; ciphers can be collected at any moment; its server exchanges keys with ML-KEM; and the process then ends well. A
 * binding for another Node, or what was not patched, fails one of these. Argument: ssh2's directory.
 */
const assert = require("node:assert")
const path = require("node:path")
const kex = require("./kex-client.cjs")
const crypto = require(path.join(process.argv[2], "lib/protocol/crypto.js"))

assert.strictEqual(crypto.bindingAvailable, true, "the binding is not loaded")

const message = Buffer.from("a build comes in over SSH, and goes back as store paths")
const fill = (length) => Buffer.alloc(length, 7)

for (const name of ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr"]) {
  for (const bindingEncrypts of [true, false]) {
    const cipherInfo = crypto.CIPHER_INFO[name]
    const macInfo = crypto.MAC_INFO["hmac-sha2-256"]
    // Each side counts its own initialisation vector up, in place.
    const side = () => ({
      seqno: 0,
      cipherKey: fill(cipherInfo.keyLen),
      cipherIV: fill(cipherInfo.ivLen),
      macInfo,
      macKey: fill(macInfo.len)
    })
    const written = []
    const read = []
    const cipher = crypto.createCipher({
      outbound: {
        ...side(),
        cipherInfo,
        onWrite: (data) => written.push(Buffer.from(data)),
        forceNative: !bindingEncrypts
      }
    })
    const { cipherIV, cipherKey, macInfo: mac, macKey, seqno } = side()
    const decipher = crypto.createDecipher({
      inbound: {
        seqno,
        decipherInfo: cipherInfo,
        decipherKey: cipherKey,
        decipherIV: cipherIV,
        macInfo: mac,
        macKey,
        onPayload: (payload) => void read.push(Buffer.from(payload)),
        forceNative: bindingEncrypts
      }
    })

    const packet = cipher.allocPacket(message.length)
    message.copy(packet, 5)
    cipher.encrypt(packet)
    const bytes = Buffer.concat(written)
    decipher.decrypt(bytes, 0, bytes.length)

    assert.deepStrictEqual(read, [message], `${name}: the message did not come back`)
    assert.notStrictEqual(bytes.indexOf(message), 0, `${name}: nothing was encrypted`)
    cipher.free()
    decipher.free()
  }
}

/** Enough rounds for many collections, which come between them, while no JavaScript runs. */
const rounds = 40
const discard = (round) => {
  const name = "aes128-gcm@openssh.com"
  const { ivLen, keyLen } = crypto.CIPHER_INFO[name]
  for (let count = 0; count < 500; count++) {
    crypto.createCipher({
      outbound: {
        seqno: 0,
        cipherInfo: crypto.CIPHER_INFO[name],
        cipherKey: fill(keyLen),
        cipherIV: fill(ivLen),
        onWrite: () => {}
      }
    })
  }
  if (round < rounds) setTimeout(discard, 1, round + 1)
}
discard(1)

/** Some secrets begin with a zero or a high bit, and are those that can be written wrongly: so many see both. */
const exchanges = 16
const exchangeKeys = async () => {
  const { Server, utils } = require(process.argv[2])
  // One in three hundred of the keys that it makes, it cannot read. Drover makes its own.
  let key
  do key = utils.generateKeyPairSync("ed25519").private
  while (utils.parseKey(key) instanceof Error)
  const hostKeys = [key]
  const server = new Server({ hostKeys, algorithms: { kex: [kex.method] } }, (client) => client.on("error", () => {}))
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve))
  try {
    const { port } = server.address()
    for (let count = 0; count < exchanges; count++) await kex.exchange({ host: "127.0.0.1", port })
  } finally {
    server.close()
  }
}
void exchangeKeys()
