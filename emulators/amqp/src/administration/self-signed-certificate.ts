import { generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import {
  bitString,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  set,
  tagged,
  time,
  truth,
  utf8String,
} from './der.ts'

const ids = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
}
const dayMs = 86_400_000
const validDays = 365
const version3 = Buffer.from([2])

/** A key and a certificate for it in PEM. */
export type KeyedCertificate = { key: string; certificate: string }

/**
 * Makes a certificate for localhost (RFC 5280), signed with its own new key. It may act as its own authority, so that a
 * client trusts it when it is given as one. node:crypto reads certificates but makes none.
 */
export const selfSignedCertificate = (now: number): KeyedCertificate => {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const algorithm = sequence(objectIdentifier(ids.ecdsaWithSha256))
  const name = sequence(set(sequence(objectIdentifier(ids.commonName), utf8String('localhost'))))
  const names = sequence(
    tagged(2, Buffer.from('localhost'), false),
    tagged(7, Buffer.from([127, 0, 0, 1]), false),
    tagged(7, Buffer.concat([Buffer.alloc(15), Buffer.from([1])]), false),
  )
  const extensions = sequence(
    sequence(objectIdentifier(ids.basicConstraints), truth, octetString(sequence(truth))),
    sequence(objectIdentifier(ids.subjectAltName), octetString(names)),
  )
  const body = sequence(
    tagged(0, integer(version3), true),
    integer(Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    name,
    sequence(time(new Date(now - dayMs)), time(new Date(now + validDays * dayMs))),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tagged(3, extensions, true),
  )
  const der = sequence(body, algorithm, bitString(sign('sha256', body, privateKey)))
  const lines = der.toString('base64').replaceAll(/.{64}/g, '$&\n')
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    certificate: `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`,
  }
}
