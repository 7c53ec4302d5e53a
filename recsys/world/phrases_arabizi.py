"""
Darija in Latin letters (Arabizi): the sentences that titles and captions are composed from.

Written for this project; no real person's text. Not yet read by a native speaker.
"""

from typing import Final

OPENERS: Final = (
    "d9i9a we7da:",
    "sm3o hadi:",
    "mn l9elb:",
    "khouti,",
    "nasi7a sghira:",
    "had sba7:",
    "so2al dyal lyoum:",
    "bsara7a,",
    "fikra mn {city}:",
    "9bel ma tn3es:",
)
TAILS: Final = (
    "💚",
    "🌿 bchwiya 3lik",
    ", chno kayban likom?",
    "(part 2)",
    ", partagiw m3a li me7taj",
    "🙏",
    ", m3a nas {city}",
    ", khetwa khetwa",
)
CAPTIONS: Final = (
    "ktbo lia f les commentaires kifach kat3icho had chi.",
    "tferrjo 7ta lekher w khelliw lia ra2ykom.",
    "had la video dertha b kol ma7abba.",
    "ila 3jbatkom siftoha l chi sa7eb.",
    "ghadi nkemlo l hedra f la video jaya.",
    "chokran bezzaf 3la support dyalkom.",
)
TOPICS: Final = {
    "S1": (
        "kifach ntlb lm3awna bla ma n7chem",
        "awel merra mchit 3nd tbib nafsi",
        "fin tl9a chi 7ed ysm3ek f mdintek",
        "thder m3a chi 7ed katti9 fih rah 9owwa",
        "chno kaytra f awel séance m3a la psy",
    ),
    "S2": (
        "chno howa l9ala9 w 3lach kayji",
        "la psy katchre7: lfer9 bin l7ozn w dépression",
        "3lach dmagh dyalna kay3ya",
        "nfhmo la crise de panique b klam sahel",
        "3lach kaydrrek kerchek mli katstressa",
    ),
    "S3": (
        "tneffes m3aya: rb3a d tawani w hbbet ktafek",
        "kifach nhdden rasi 9bel l'examen",
        "routine dyal n3as bla tilifoun",
        "khmsa d l7wayj kandirhom mli kantwetter",
        "mchya 9sira katbddel nhar kaml",
    ),
    "S4": (
        "kont 3yan w khrejt menha chwiya b chwiya",
        "3am mn b3d: kifach rje3t ndhek",
        "l9issa dyali m3a l2amal",
        "nhar li bdit kan7ess b rasi 7sen",
        "rje3t l l9raya mn b3d fatra s3iba",
    ),
    "S5": (
        "machi 7chouma tmchi 3nd la psy",
        "ma n9olouch 3lih 7me9, nsm3o lih",
        "rajel 7ta howa kaybki, w machi 3ib",
        "klmat khassna nbddlohom mli kanhdro 3la nefs",
        "lmerd nafsi b7al ay merd kayt3alej",
    ),
    "S6": (
        "nhdro m3a waldina bla sda3",
        "so2al wa7ed tsowlo l weldek had lila",
        "kifach 9olt l mama bli ana machi mzyan",
        "l3cha bla tilifounat: jerrebnaha f dar",
        "lwalid dyali w kifach t3llmna ntsenntou l b3diyatna",
    ),
    "S7": (
        "machi bo7dek, kaynin nas b7alek",
        "bdit 7ayat jdida f mdina ma kan3ref fiha 7ed",
        "kifach dert s7ab jdad f la fac",
        "tassel b chi wa7ed twe77echtih lyoum",
        "9ahwa m3a jarti bddlat lia nhari",
    ),
    "S8": (
        "stress dyal lbac: kifach nnddem w9ti",
        "khdemt bezzaf w 3yit, chno dert",
        "rb3 sa3a 9raya w khmsa d9aye9 ra7a",
        "jbt no9ta khayba w machi nihayat l3alam",
        "kifach n9ol la f lkhedma bla machakil",
    ),
    "S9": (
        "n9es mn tilifoun bla ma t7rem rasek",
        "7ettit tilifoun f bit akhor simana kamla",
        "chno kaydir fina scroll 9bel n3as",
        "nhar l7ed bla écran m3a drari",
        "kifach tfit les notifications w rta7t",
    ),
    "S10": (
        "ssber w l9owwa: kelma mn jeddati",
        "rasm kay3awenni nrta7",
        "ljery f sba7 3la lb7er",
        "chno kay3ti lma3na l nhar dyalek",
        "lkoura m3a wlad l7ouma katferre7 l9elb",
    ),
    "S11": (
        "kifach n3icho m3a lfra9 d chi 7ed 3ziz",
        "twe77echt jeddi lah yr7mo",
        "awel 3id bla bihom",
        "l3za: 3lach khassna nhdro 3lih",
    ),
    "S12": (
        "mama jdida w 3yana: rah 3adi",
        "kanthella f lwalida w kanthella f rasi",
        "lhijra w lghorba: kifach nwalef",
        "mn b3d ta9a3od l9it rasi",
        "l2ab jdid 7ta howa me7taj support",
    ),
    "cooking": (
        "tajine b lkhedra sahel w bnin",
        "msemmen dyal sba7 khetwa b khetwa",
        "7rira sri3a dyal nhar lberd",
        "slata maghribia f 3chra d9aye9",
        "cake bla forran",
    ),
    "football": (
        "résumé match d l7ouma f {city}",
        "chkoun ghadi yrbe7 derby?",
        "entrainement sahel b lkoura",
        "a7sen but cheftou had simana",
        "dikrayat lmondial m3a l3a2ila",
    ),
    "comedy": (
        "mli mamak kat3eyyet lik mn lkouzina",
        "anwa3 nas f taxi kbir",
        "mli katji l3a2ila bla khbar",
        "l9et dyali w zerbia jdida",
        "mli kat9ol khmsa d9aye9 w nwsel",
    ),
    "music": (
        "3zeft had la7n 3la l3oud",
        "gnawa f zen9a dyal {city}",
        "oghnia 9dima kanbghiha",
        "t3llemt derbouka f chher",
        "rap hadi2 3la l7ouma",
    ),
    "city": (
        "dora sghira f {city} m3a lghoroub",
        "a7sen 9ahwa f {city}",
        "souk dyal sba7 f {city}",
        "tran mn {city}: chno cheft mn cherjem",
        "chta f {city} ma a7laha",
    ),
}
HEAVY: Final = (
    "nhdro 3la sadma bla tafasil",
    "fach kayb9a l7ozn modda twila: 3alamat khassna ntabho lihom",
    "3echt tanamor f lmdrasa w hadi 9issti",
    "lakhbar s3iba: kifach kat2etter 3lina",
    "tla9 d lwalidin w chno khella fia",
)
FAMILIES: Final = {
    "despair": (
        "kolchi wlla gris w 7ta wa7ed ma 7ass",
        "3yit mn d7ka li machi dyali",
        "mn b3dek ma b9a walo kayferre7",
        "lil twil w l9elb mherres",
        "7ta 7aja ma ghadi tbddel",
    ),
    "body": (
        "9aren rasek m3aha: chkoun 7sen?",
        "3lach ljism dyali machi b7alhom",
        "9bel w mn b3d, choufo lfer9",
        "lmraya dima kat9ol lia la",
    ),
    "aggression": (
        "choufo kifach kaybki hhhhh",
        "de7ko m3aya 3la had siyed",
        "hado li kaykhafo mn kolchi hhh",
        "tari9t lhedra dyalo katde77ek bezzaf",
    ),
    "self_diagnosis": (
        "khmsa d l3alamat bli fik had lmerd",
        "jaweb 3la tlata d les questions w 3ref merdek",
        "ila kaddir hadi rak mrid",
        "quiz: chno le trouble li fik?",
    ),
}
