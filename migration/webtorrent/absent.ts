/**
 * In place of packages that webtorrent loads and that we do not use: WebRTC (`webrtc-polyfill`, a native library) and uTP
 * (`utp-native`, which has no binary for every machine).
 */
export const RTCPeerConnection = undefined
export const RTCSessionDescription = undefined
export const RTCIceCandidate = undefined
