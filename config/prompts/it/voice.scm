; The Italian speaker, and the words she would otherwise mispronounce.
(voice_lp_diphone)

; A little slower than she was recorded: these are instructions, heard once, over a telephone.
(Parameter.set 'Duration_Stretch 1.06)

(lex.add.entry '("tollbridge" nn (((t O1 l) 1) ((b r i) 0) ((dZ i) 0))))

; Her loud vowels overflow the 16 bits of Festival's filter, which wraps: a crackle. So each piece of speech goes in
; softer. A copy of it: the database keeps the piece for its next use.
(define us_get_diphones_loud us_get_diphones)
(define (us_get_diphones utt)
  (us_get_diphones_loud utt)
  (mapcar
   (lambda (unit)
     (let ((piece (wave.copy (item.feat unit "sig"))))
       (wave.rescale piece 0.25)
       (item.set_feat unit "sig" piece)))
   (utt.relation.items utt 'Unit))
  utt)

; Four of her recorded pieces hold a stray pulse, heard as a knock. Another piece stands in for each: the same sound
; with the other stress, or the beginning of an r.
(set! spoiled '(("a-r" "a1" "r") ("E1-d" "e1" "d") ("#-u1" "#" "u") ("r-r" "#" "r")))
(define (replace_spoiled utt)
  (mapcar
   (lambda (segment)
     (let ((piece (assoc_string (string-append (item.name segment) "-" (item.feat segment "n.name")) spoiled)))
       (if piece
           (begin
             (item.set_feat segment "us_diphone_left" (cadr piece))
             (item.set_feat (item.next segment) "us_diphone_right" (caddr piece))))))
   (utt.relation.items utt 'Segment))
  utt)
(set! UniSyn_module_hooks (list replace_spoiled))
