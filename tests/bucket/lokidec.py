"""A second decoder of Loki's chunk objects and TSDB index files, that shares no code with the server under test.
Every checksum, offset and order is asserted. Needs zstandard, lz4, xxhash; crc32c if it is there."""
import struct, json, gzip, zlib, io
import zstandard, lz4.frame
# ---- crc32c (Castagnoli, reflected 0x82F63B78)
_T=[]
for i in range(256):
    c=i
    for _ in range(8): c=(c>>1)^0x82F63B78 if c&1 else c>>1
    _T.append(c)
try:
    import crc32c as _c
    def crc32c(b,crc=0): return _c.crc32c(bytes(b),crc)
except ImportError:
    def crc32c(b,crc=0):
        crc^=0xFFFFFFFF
        for x in b: crc=_T[(crc^x)&255]^(crc>>8)
        return crc^0xFFFFFFFF
# ---- snappy raw block + framing
def snappy_raw(b):
    r=Rd(b); n=r.uvarint(); out=bytearray(); p=r.p
    while p<len(b):
        t=b[p]; p+=1
        if t&3==0:
            l=t>>2
            if l>=60:
                k=l-59; l=int.from_bytes(b[p:p+k],'little'); p+=k
            l+=1; out+=b[p:p+l]; p+=l; continue
        if t&3==1: l=((t>>2)&7)+4; off=((t>>5)<<8)|b[p]; p+=1
        elif t&3==2: l=(t>>2)+1; off=b[p]|(b[p+1]<<8); p+=2
        else: l=(t>>2)+1; off=int.from_bytes(b[p:p+4],'little'); p+=4
        assert 0<off<=len(out)
        for _ in range(l): out.append(out[-off])
    assert len(out)==n
    return bytes(out)
def snappy_frames(b, want_info=False):
    """yields decoded bytes of a snappy framed stream; returns (data, frames)"""
    p=0; out=b''; fr=[]
    while p<len(b):
        ty=b[p]; ln=int.from_bytes(b[p+1:p+4],'little'); body=b[p+4:p+4+ln]; p+=4+ln
        fr.append((ty,ln))
        if ty==0xff: assert body==b'sNaPpY'
        elif ty in (0,1):
            want=struct.unpack('<I',body[:4])[0]
            d=snappy_raw(body[4:]) if ty==0 else body[4:]
            c=crc32c(d); m=(((c>>15)|(c<<17))+0xa282ead8)&0xffffffff
            assert m==want,'snappy frame crc'
            out+=d
        elif 0x80<=ty<=0xfd: pass
        else: raise ValueError('reserved frame %x'%ty)
    return (out,fr) if want_info else out
class Rd:
    def __init__(s,b,p=0): s.b=b; s.p=p
    def uvarint(s):
        x=sh=0
        while True:
            c=s.b[s.p]; s.p+=1; x|=(c&127)<<sh; sh+=7
            if c<128: return x
    def varint(s):
        u=s.uvarint(); return (u>>1)^-(u&1)
    def be32(s): v=struct.unpack_from('>I',s.b,s.p)[0]; s.p+=4; return v
    def be64(s): v=struct.unpack_from('>Q',s.b,s.p)[0]; s.p+=8; return v
    def byte(s): v=s.b[s.p]; s.p+=1; return v
    def take(s,n):
        v=s.b[s.p:s.p+n]; assert len(v)==n; s.p+=n; return v
    def ustr(s): return s.take(s.uvarint())
CODEC={0:'none',1:'gzip',2:'dumb',3:'lz4-64k',4:'snappy',5:'lz4-256k',6:'lz4-1M',7:'lz4',8:'flate',9:'zstd'}
def decompress(c,b):
    if c==0: return bytes(b)
    if c==1: return gzip.decompress(b)
    if c in (3,5,6,7): return lz4.frame.decompress(b)
    if c==4: return snappy_frames(b)
    if c==8: return zlib.decompress(b,-15)
    if c==9: return zstandard.ZstdDecompressor().decompressobj().decompress(b)
    raise ValueError(c)
def decode_chunk_object(b):
    """outer framing -> (meta json dict, raw json bytes, info, data blob)"""
    ml=struct.unpack('>I',b[:4])[0]
    raw,fr=snappy_frames(b[4:ml],True)
    dl=struct.unpack('>I',b[ml:ml+4])[0]
    data=b[ml+4:]
    assert len(data)==dl,(len(data),dl)
    return json.loads(raw),raw,{'metaLen':ml,'dataLen':dl,'frames':fr,'crc32c':crc32c(b)},data
def decode_chunk_data(d, need_entries=True):
    r=Rd(d)
    assert r.be32()==0x012EE56A
    ver=r.byte(); codec=r.byte() if ver>=2 else 1
    o={'version':ver,'codec':codec,'codecName':CODEC[codec],'blocks':[]}
    syms=None
    if ver>=4:
        mlen,moff=struct.unpack('>QQ',d[-16:]); slen,soff=struct.unpack('>QQ',d[-32:-16])
        o['sections']={'metasLen':mlen,'metasOff':moff,'smLen':slen,'smOff':soff}
        assert soff==6
        sec=d[soff:soff+slen]; assert crc32c(sec)==struct.unpack('>I',d[soff+slen:soff+slen+4])[0],'sm crc'
        rs=Rd(sec); n=rs.uvarint(); raw=decompress(codec,sec[rs.p:])
        rr=Rd(raw); syms=[rr.ustr() for _ in range(n)]; assert rr.p==len(raw)
        o['symbols']=[x.decode('utf8','surrogateescape') for x in syms]; o['smRawLen']=len(raw)
        expected=soff+slen+4
        assert moff+mlen+4+32==len(d)
    else:
        moff=struct.unpack('>Q',d[-8:])[0]; mlen=len(d)-12-moff; expected=r.p
    mb=d[moff:moff+mlen]; assert crc32c(mb)==struct.unpack('>I',d[moff+mlen:moff+mlen+4])[0],'meta crc'
    rm=Rd(mb)
    for _ in range(rm.uvarint()):
        bl={'entries':rm.uvarint(),'mint':rm.varint(),'maxt':rm.varint(),'off':rm.uvarint()}
        if ver>=3: bl['usize']=rm.uvarint()
        bl['len']=rm.uvarint()
        assert bl['off']==expected; expected=bl['off']+bl['len']+4
        blk=d[bl['off']:bl['off']+bl['len']]
        assert crc32c(blk)==struct.unpack('>I',d[bl['off']+bl['len']:bl['off']+bl['len']+4])[0],'block crc'
        raw=decompress(codec,blk); bl['rawLen']=len(raw); bl['head']=blk[:16].hex(); bl['tail']=blk[-8:].hex()
        rr=Rd(raw); es=[]
        for _ in range(bl['entries']):
            ts=rr.varint(); line=rr.ustr(); sm=None
            if ver>=4:
                sl=rr.uvarint(); st=rr.p; k=rr.uvarint(); sm=[]
                for _ in range(k):
                    a=rr.uvarint(); c=rr.uvarint(); oob=o.setdefault('oob',[0]); 
                    if a>=len(syms) or c>=len(syms): oob[0]+=1
                    g=lambda i: syms[i].decode('utf8','surrogateescape') if i<len(syms) else ''
                    sm.append((g(a),g(c)))
                assert rr.p-st==sl
            es.append((ts,line,sm))
        assert rr.p==len(raw),'trailing block bytes'
        bl['mintExact']=es[0][0]==bl['mint']; assert es[-1][0]==bl['maxt']
        assert all(es[i][0]<=es[i+1][0] for i in range(len(es)-1))
        bl['data']=es; o['blocks'].append(bl)
        if ver>=4:
            assert bl['usize']==sum(len(l)+8*len(sm) for _,l,sm in es),(bl['usize'],)
        elif ver==3: assert bl['usize']==sum(len(l) for _,l,sm in es)
    assert rm.p==len(mb); assert expected==moff
    return o
# ---------------- TSDB
def decode_tsdb(b):
    r=Rd(b); assert r.be32()==0xBAAAD700; ver=r.byte()
    toc=b[-76:]; assert crc32c(toc[:72])==struct.unpack('>I',toc[72:])[0]
    names=['symbols','series','labelIndices','labelIndicesTable','postings','postingsTable','fpOffsets']
    T=dict(zip(names,struct.unpack('>7Q',toc[:56]))); mn,mx=struct.unpack('>qq',toc[56:72]); 
    o={'version':ver,'toc':T,'from':mn,'through':mx,'tocCRC':struct.unpack('>I',toc[72:])[0],'size':len(b)}
    def sect(off):
        n=struct.unpack_from('>I',b,off)[0]; body=b[off+4:off+4+n]
        assert crc32c(body)==struct.unpack_from('>I',b,off+4+n)[0]; return body, off+8+n
    assert T['symbols']==5
    body,end=sect(T['symbols']); rr=Rd(body); n=rr.be32(); syms=[rr.ustr() for _ in range(n)]; assert rr.p==len(body)
    assert syms==sorted(syms); o['symbols']=[s.decode() for s in syms]; assert end==T['series']
    # series
    p=T['series']; series=[]; 
    while p<T['labelIndices']:
        pad=(-p)%16; assert b[p:p+pad]==b'\0'*pad; p+=pad
        start=p; q=Rd(b,p); ln=q.uvarint(); body=b[q.p:q.p+ln]; assert crc32c(body)==struct.unpack_from('>I',b,q.p+ln)[0]
        p=q.p+ln+4
        e=Rd(body); fp=e.be64(); k=e.uvarint(); ls=[(syms[e.uvarint()].decode(),syms[e.uvarint()].decode()) for _ in range(k)]
        s={'ref':start//16,'pos':start,'fp':fp,'labels':ls,'chunks':[]}
        nch=e.uvarint()
        if ver>=3:
            mln=e.be32(); ms=e.p
            if nch:
                nm=e.uvarint(); pages=[]
                for _ in range(nm):
                    pages.append({'n':e.uvarint(),'kb':e.be32(),'entries':e.be32(),'off':e.uvarint(),'mint':(m0:=e.varint()),'maxt':m0+e.varint()})
                assert e.p-ms==mln,(e.p-ms,mln)
                s['pages']=pages
            else: e.take(1)
        cs=e.p; t0=0; offs=[]
        for i in range(nch):
            offs.append(e.p-cs)
            mint=e.varint()+t0; maxt=mint+e.uvarint(); kb=e.uvarint(); ent=e.uvarint(); ck=e.be32(); t0=maxt
            s['chunks'].append((mint,maxt,kb,ent,ck))
        assert e.p==len(body),(e.p,len(body))
        if ver>=3 and nch:
            i=0
            for pg in pages:
                assert pg['off']==offs[i]; sub=s['chunks'][i:i+pg['n']]
                assert pg['mint']==min(c[0] for c in sub) and pg['maxt']==max(c[1] for c in sub)
                assert pg['kb']==sum(c[2] for c in sub) and pg['entries']==sum(c[3] for c in sub); i+=pg['n']
        assert s['chunks']==sorted(s['chunks'],key=lambda c:(c[0],c[1],c[4]))
        series.append(s)
    o['series']=series
    assert [(s['fp'],s['labels']) for s in series]==sorted((s['fp'],s['labels']) for s in series)
    # label indices: 4-aligned
    body,_=sect(T['labelIndicesTable']); e=Rd(body); n=e.be32(); lidx=[]
    for _ in range(n):
        k=e.uvarint(); assert k==1; nm=e.ustr().decode(); off=e.uvarint(); lidx.append((nm,off))
    assert e.p==len(body)
    o['labelIndexTable']=lidx; o['labelIndex']={}
    for nm,off in lidx:
        assert off%4==0
        bd,_=sect(off); e=Rd(bd); assert e.be32()==1; c=e.be32(); vals=[syms[e.be32()].decode() for _ in range(c)]; assert e.p==len(bd)
        o['labelIndex'][nm]=vals
    # postings
    body,pend=sect(T['postingsTable']); e=Rd(body); n=e.be32(); post=[]
    for _ in range(n):
        assert e.uvarint()==2; nm=e.ustr().decode(); v=e.ustr().decode(); off=e.uvarint()
        assert off%4==0
        bd,_=sect(off); z=Rd(bd); c=z.be32(); refs=[z.be32() for _ in range(c)]; assert z.p==len(bd)
        post.append((nm,v,off,refs))
    assert e.p==len(body); o['postings']=post
    assert post[0][:2]==('','') and post[0][3]==[s['ref'] for s in series]
    assert [x[:2] for x in post]==sorted(x[:2] for x in post)
    want={}
    for s in series:
        for l in s['labels']: want.setdefault(l,[]).append(s['ref'])
    assert {(x[0],x[1]):x[3] for x in post[1:]}==want
    for nm in o['labelIndex']: assert o['labelIndex'][nm]==sorted(v for (n_,v) in want if n_==nm)
    assert pend==T['fpOffsets']
    body,fend=sect(T['fpOffsets']); e=Rd(body); n=e.be32(); o['fpOffsets']=[(e.be64(),e.be64()) for _ in range(n)]; assert e.p==len(body)
    assert fend==len(b)-76
    assert o['fpOffsets']==[(s['ref'],s['fp']) for i,s in enumerate(series) if i%1024==0]
    allc=[c for s in series for c in s['chunks']]
    if allc: assert (mn,mx)==(min(c[0] for c in allc),max(c[1] for c in allc))
    return o
def fingerprint(labels):
    import xxhash
    b=b''.join(k.encode()+b'\xff'+v.encode()+b'\xff' for k,v in sorted(labels) if k!='__name__')
    return xxhash.xxh64_intdigest(b)
